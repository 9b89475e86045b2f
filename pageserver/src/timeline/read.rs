//! The read path: gather from this timeline, then from its ancestors, then reconstruct.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::join_all;
use pageserver_api::Key;
use pageserver_api::keyspace::KeySpace;
use utils::Lsn;

use super::error::MissingKey;
use super::metrics::{GetKind, READS};
use super::visit::VisitOutcome;
use super::{GetVectoredError, PageReconstructError, Timeline, TimelineState, WaitLsnError};
use crate::context::RequestContext;
use crate::layers::{KeyState, ReconstructState};
use crate::redo;

/// Most keys of one vectored read.
pub const MAX_GET_VECTORED_KEYS: u64 = 32;

/// Values by key.
pub(super) type Values = BTreeMap<Key, Result<Bytes, PageReconstructError>>;

impl Timeline {
    /// The value of `key` as of `lsn`, which must have been ingested.
    pub async fn get(
        &self,
        key: Key,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<Bytes, PageReconstructError> {
        self.throttle.admit(ctx.task_kind(), 1, &self.cancel).await;
        let keys = KeySpace::single(key..key.next());
        let mut values = self.read_as(GetKind::Singular, keys, lsn, ctx).await?;
        match values.remove(&key) {
            Some(value) => value,
            None => Err(self.missing_key(key, lsn, lsn)),
        }
    }

    /// The values of up to [`MAX_GET_VECTORED_KEYS`] keys as of `lsn`, in one pass over the
    /// layers. A key that is in no layer fails the whole read, unless it is sparse metadata.
    pub async fn get_vectored(
        &self,
        keyspace: KeySpace,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<Values, GetVectoredError> {
        let wanted = keyspace.total_raw_size();
        if wanted > MAX_GET_VECTORED_KEYS {
            return Err(GetVectoredError::Oversized { wanted, max: MAX_GET_VECTORED_KEYS });
        }
        self.throttle.admit(ctx.task_kind(), wanted, &self.cancel).await;
        let started = Instant::now();
        let values = self.read_as(GetKind::Vectored, keyspace, lsn, ctx).await?;
        READS.vectored_done(ctx.task_kind(), started);
        Ok(values)
    }

    /// Every key of a range of sparse metadata that has a value as of `lsn`. Tombstones are
    /// values.
    pub async fn scan(
        &self,
        range: Range<Key>,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<BTreeMap<Key, Bytes>, GetVectoredError> {
        let Range { start, end } = range;
        if start < Key::METADATA_RANGE.start || end > Key::METADATA_RANGE.end {
            return Err(GetVectoredError::NotScannable { start, end });
        }
        self.throttle.admit(ctx.task_kind(), 1, &self.cancel).await;
        let started = Instant::now();
        let keys = KeySpace::single(range);
        let values = self.read_as(GetKind::Vectored, keys, lsn, ctx).await?;
        READS.scan_done(ctx.task_kind(), started);
        let values = values.into_iter().map(|(key, value)| value.map(|value| (key, value)));
        Ok(values.collect::<Result<_, _>>()?)
    }

    /// Reads any set of keys.
    pub(super) async fn read(
        &self,
        keys: KeySpace,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<Values, PageReconstructError> {
        self.throttle.admit(ctx.task_kind(), keys.total_raw_size(), &self.cancel).await;
        self.read_as(GetKind::Vectored, keys, lsn, ctx).await
    }

    async fn read_as(
        &self,
        kind: GetKind,
        keys: KeySpace,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<Values, PageReconstructError> {
        if !lsn.is_valid() {
            return Err(PageReconstructError::InvalidLsn);
        }
        let started = Instant::now();
        let mut state = ReconstructState::not_inheriting_up_to(self.detached_at);
        self.gather(keys, lsn, &mut state, ctx).await?;
        let layers_visited = state.layers_visited;
        // Together, so that a helper process has all requests of the read at once. The engine of
        // this process finishes each before the next begins.
        let found = state.into_keys();
        READS.gathered(kind, started, layers_visited, found.len());
        let started = Instant::now();
        let values = found.into_iter().map(async |(key, state)| {
            let value = match state {
                Ok(state) => self.reconstruct(key, lsn, state).await,
                Err(error) => Err(PageReconstructError::Value(error)),
            };
            (key, value)
        });
        let values = join_all(values).await;
        READS.reconstructed(kind, started);
        Ok(values.into_iter().collect())
    }

    /// Gathers from this timeline and as many ancestors as it takes.
    pub(super) async fn gather(
        &self,
        keys: KeySpace,
        lsn: Lsn,
        state: &mut ReconstructState,
        ctx: &RequestContext,
    ) -> Result<(), PageReconstructError> {
        let mut remaining = keys;
        let mut end_lsn = lsn + 1;
        let mut ancestor: Option<Arc<Timeline>> = None;
        loop {
            let timeline = ancestor.as_deref().unwrap_or(self);
            let visit = timeline.visit_layers(remaining.clone(), end_lsn, state, ctx);
            let VisitOutcome { completed, covered_by_images } = visit.await?;
            remaining.remove_overlapping_with(&completed);
            remaining.remove_overlapping_with(&not_inherited());
            let Some(first) = remaining.start() else { return Ok(()) };
            let absent = remaining.intersection(&covered_by_images);
            if let Some(key) = absent.start() {
                return Err(self.missing_key(key, end_lsn, lsn));
            }
            let Some((next, branch_lsn)) = timeline.ancestor() else {
                return Err(self.missing_key(first, end_lsn, lsn));
            };
            end_lsn = end_lsn.min(branch_lsn + 1);
            next.ready_as_ancestor(branch_lsn).await?;
            ancestor = Some(next);
        }
    }

    /// Waits until this timeline can serve reads of a branch made at `branch_lsn`.
    async fn ready_as_ancestor(&self, branch_lsn: Lsn) -> Result<(), PageReconstructError> {
        let failed = |reason| PageReconstructError::Ancestor { ancestor: self.timeline_id, reason };
        match self.wait_to_become_active().await {
            Ok(()) => {}
            Err(TimelineState::Stopping) => return Err(PageReconstructError::Cancelled),
            Err(state) => return Err(failed(format!("its state is {state:?}"))),
        }
        match self.wait_lsn_timeout(branch_lsn, self.conf.wal.wait_lsn_timeout).await {
            Ok(()) => Ok(()),
            Err(WaitLsnError::Shutdown) => Err(PageReconstructError::Cancelled),
            Err(error @ (WaitLsnError::BadState(_) | WaitLsnError::Timeout(_))) => {
                Err(failed(error.to_string()))
            }
        }
    }

    /// Turns what was gathered for a key into its value. Values arrive newest first; redo
    /// takes them oldest first.
    pub(super) async fn reconstruct(
        &self,
        key: Key,
        lsn: Lsn,
        state: KeyState,
    ) -> Result<Bytes, PageReconstructError> {
        let KeyState { mut records, image, .. } = state;
        match image {
            Some((_, image)) if records.is_empty() => Ok(image),
            base => {
                records.reverse();
                debug_assert!(records.iter().all(|(at, _)| *at <= lsn), "read at {lsn}");
                redo::reconstruct(self.redo.as_ref(), key, base, records, self.pg_major)
                    .await
                    .map_err(|source| PageReconstructError::Redo {
                        key,
                        lsn,
                        source: Arc::new(source),
                    })
            }
        }
    }

    pub(super) fn missing_key(
        &self,
        key: Key,
        cont_lsn: Lsn,
        request_lsn: Lsn,
    ) -> PageReconstructError {
        PageReconstructError::MissingKey(Box::new(MissingKey {
            key,
            shard: self.shard_identity.shard_number_of(&key).0,
            cont_lsn,
            request_lsn,
            ancestor_lsn: self.ancestor().map(|(_, lsn)| lsn),
        }))
    }
}

/// Keys that a branch does not see of its ancestor, and whose absence is no error.
fn not_inherited() -> KeySpace {
    let aux_v1 = Key::AUX_FILES_V1..Key::AUX_FILES_V1.next();
    KeySpace { ranges: vec![aux_v1, Key::METADATA_RANGE] }
}
