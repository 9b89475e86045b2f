//! Answers to single page requests.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use pageserver_api::Key;
use pageserver_api::pagestream::{PagestreamRequest, PagestreamResponse, RequestBody};
use postgres_ffi::{BLCKSZ, BlockNumber, DEFAULTTABLESPACE_OID, Oid, RelTag, SlruKind};
use utils::{Lsn, TenantId, TimelineId};

use super::directory::{LookupError, ServedTimeline, ShardSelector, TimelineDirectory};
use super::handler::PageServiceHandler;
use super::read_lsn::read_lsn;
use crate::basebackup::BATCH_KEYS;
use crate::keymap::{Keymap, KeymapError};

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The client should connect again.
    #[error("{0}")]
    Reconnect(String),
    /// The timeline is shutting down; the client is told nothing.
    #[error("shutting down")]
    Shutdown,
    /// The engine could not read.
    #[error("Read error")]
    Read(#[source] KeymapError),
    /// The WAL did not arrive.
    #[error("LSN timeout: {0}")]
    LsnTimeout(String),
    /// What was asked for does not exist.
    #[error("Not found: {0}")]
    NotFound(String),
    /// The request makes no sense.
    #[error("Bad request: {0}")]
    BadRequest(String),
}

impl From<KeymapError> for RequestError {
    fn from(error: KeymapError) -> Self {
        if error.is_cancel() { Self::Shutdown } else { Self::Read(error) }
    }
}

impl From<LookupError> for RequestError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::ShuttingDown => Self::Shutdown,
            other => Self::NotFound(other.to_string()),
        }
    }
}

/// The name of a kind of request in metrics.
pub(super) fn metric_name(body: &RequestBody) -> &'static str {
    match body {
        RequestBody::Exists(_) => "get_rel_exists",
        RequestBody::Nblocks(_) => "get_rel_size",
        RequestBody::GetPage(..) => "get_page_at_lsn",
        RequestBody::DbSize(_) => "get_db_size",
        RequestBody::GetSlruSegment { .. } => "get_slru_segment",
    }
}

/// The span in which a request is handled.
pub(super) fn request_span(request: &PagestreamRequest) -> tracing::Span {
    let req_lsn = request.request_lsn;
    match &request.body {
        RequestBody::Exists(rel) => {
            tracing::info_span!("handle_get_rel_exists_request", %rel, %req_lsn)
        }
        RequestBody::Nblocks(rel) => {
            tracing::info_span!("handle_get_nblocks_request", %rel, %req_lsn)
        }
        RequestBody::GetPage(rel, blkno) => {
            tracing::info_span!("handle_get_page_at_lsn_request", %rel, blkno, %req_lsn)
        }
        RequestBody::DbSize(dbnode) => {
            tracing::info_span!("handle_db_size_request", dbnode, %req_lsn)
        }
        RequestBody::GetSlruSegment { kind, segment } => {
            tracing::info_span!("handle_get_slru_segment_request", kind, segno = segment, %req_lsn)
        }
    }
}

impl<D: TimelineDirectory> PageServiceHandler<D> {
    /// Answers one request.
    pub(super) async fn answer(
        &mut self,
        tenant: TenantId,
        timeline_id: TimelineId,
        request: &PagestreamRequest,
    ) -> Result<PagestreamResponse, RequestError> {
        let id = (tenant, timeline_id);
        let timeline = match &request.body {
            RequestBody::GetPage(rel, block) => {
                self.shard_of_page(id, Key::rel_block(*rel, *block)).await?
            }
            RequestBody::Exists(_)
            | RequestBody::Nblocks(_)
            | RequestBody::DbSize(_)
            | RequestBody::GetSlruSegment { .. } => self.shard_zero(id).await?,
        };
        pause_for_tests(&request.body).await;
        let lsn =
            read_lsn(timeline.as_ref(), request.request_lsn, request.not_modified_since).await?;
        let timeline = timeline.as_ref();
        match &request.body {
            RequestBody::Exists(rel) => rel_exists(timeline, lsn, *rel).await,
            RequestBody::Nblocks(rel) => {
                check_relation(*rel)?;
                Ok(PagestreamResponse::Nblocks(Keymap::at(timeline, lsn).rel_size(*rel).await?))
            }
            RequestBody::GetPage(rel, block) => get_page(timeline, lsn, *rel, *block).await,
            RequestBody::DbSize(dbnode) => db_size(timeline, lsn, *dbnode).await,
            RequestBody::GetSlruSegment { kind, segment } => {
                slru_segment(timeline, lsn, *kind, *segment).await
            }
        }
    }

    async fn shard_zero(
        &mut self,
        id: (TenantId, TimelineId),
    ) -> Result<Arc<D::Timeline>, RequestError> {
        let zero = self.held(id).iter().find(|held| held.timeline.shard_identity().is_shard_zero());
        match zero {
            Some(held) => Ok(held.timeline.clone()),
            None => Ok(self.resolve(id.0, ShardSelector::Zero, id.1).await?),
        }
    }

    async fn shard_of_page(
        &mut self,
        id: (TenantId, TimelineId),
        key: Key,
    ) -> Result<Arc<D::Timeline>, RequestError> {
        let owner = self.held(id).iter().find(|held| {
            let identity = held.timeline.shard_identity();
            identity.is_unsharded() || identity.shard_number_of(&key) == identity.number
        });
        if let Some(held) = owner {
            return Ok(held.timeline.clone());
        }
        match self.resolve(id.0, ShardSelector::Page(key), id.1).await {
            Ok(timeline) => Ok(timeline),
            // The client's map of shards is out of date; a new connection refreshes it.
            Err(LookupError::NotFound(_)) => {
                Err(RequestError::Reconnect("getpage@lsn request routed to wrong shard".to_owned()))
            }
            Err(other) => Err(other.into()),
        }
    }
}

async fn pause_for_tests(body: &RequestBody) {
    match body {
        RequestBody::Exists(_) => {
            utils::pausable_failpoint!("ps::handle-pagerequest-message::exists");
        }
        RequestBody::Nblocks(_) => {
            utils::pausable_failpoint!("ps::handle-pagerequest-message::nblocks");
        }
        RequestBody::GetPage(..) => {
            utils::pausable_failpoint!("ps::handle-pagerequest-message::getpage");
        }
        RequestBody::DbSize(_) => {
            utils::pausable_failpoint!("ps::handle-pagerequest-message::dbsize");
        }
        RequestBody::GetSlruSegment { .. } => {
            utils::pausable_failpoint!("ps::handle-pagerequest-message::slrusegment");
        }
    }
}

fn check_relation(rel: RelTag) -> Result<(), RequestError> {
    if rel.relnode == 0 {
        return Err(RequestError::BadRequest("invalid relnode".to_owned()));
    }
    Ok(())
}

async fn rel_exists<T: ServedTimeline>(
    timeline: &T,
    lsn: Lsn,
    rel: RelTag,
) -> Result<PagestreamResponse, RequestError> {
    check_relation(rel)?;
    Ok(PagestreamResponse::Exists(Keymap::at(timeline, lsn).rel_exists(rel).await?))
}

async fn get_page<T: ServedTimeline>(
    timeline: &T,
    lsn: Lsn,
    rel: RelTag,
    block: BlockNumber,
) -> Result<PagestreamResponse, RequestError> {
    check_relation(rel)?;
    let keymap = Keymap::at(timeline, lsn);
    let blocks = keymap.rel_size(rel).await?;
    if block >= blocks {
        tracing::debug!("page beyond the end of the relation, which has {blocks} blocks");
        return Ok(PagestreamResponse::GetPage(Bytes::from_static(&[0; BLCKSZ])));
    }
    let key = Key::rel_block(rel, block);
    let page = keymap.get(key).await?;
    let length = page.len();
    if length != BLCKSZ {
        return Err(KeymapError::Value { key, lsn, what: "page", length }.into());
    }
    Ok(PagestreamResponse::GetPage(page))
}

async fn db_size<T: ServedTimeline>(
    timeline: &T,
    lsn: Lsn,
    dbnode: Oid,
) -> Result<PagestreamResponse, RequestError> {
    let blocks = Keymap::at(timeline, lsn).database_blocks(DEFAULTTABLESPACE_OID, dbnode).await?;
    Ok(PagestreamResponse::DbSize((blocks * BLCKSZ as u64) as i64))
}

async fn slru_segment<T: ServedTimeline>(
    timeline: &T,
    lsn: Lsn,
    kind: u8,
    segment: u32,
) -> Result<PagestreamResponse, RequestError> {
    // The protocol knows no commit timestamps: lazy base backups have them.
    let kind = SlruKind::from_u8(kind)
        .filter(|kind| *kind != SlruKind::CommitTs)
        .ok_or_else(|| RequestError::BadRequest("invalid SLRU kind".to_owned()))?;
    let blocks = Keymap::at(timeline, lsn).slru_segment_size(kind, segment).await?;
    let keys: Vec<Key> = (0..blocks).map(|block| Key::slru_block(kind, segment, block)).collect();
    let mut content = BytesMut::with_capacity(keys.len() * BLCKSZ);
    for batch in keys.chunks(BATCH_KEYS) {
        let pages = timeline.get_all(batch, lsn).await.map_err(KeymapError::from)?;
        for (key, page) in batch.iter().zip(pages) {
            let length = page.len();
            // A commit log page carries the time of its last commit behind it.
            let page = page.get(..BLCKSZ).ok_or(KeymapError::Value {
                key: *key,
                lsn,
                what: "page",
                length,
            })?;
            content.put_slice(page);
        }
    }
    Ok(PagestreamResponse::GetSlruSegment(content.freeze()))
}
