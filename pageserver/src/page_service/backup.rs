//! The commands `basebackup` and `fullbackup`.

use std::time::Instant;

use postgres_backend::{BeMessage, PostgresBackend, QueryError};
use postgres_ffi::WAL_SEGMENT_SIZE;
use utils::{Lsn, TenantId, TimelineId};

use super::directory::{LastRecord, ServedTimeline, ShardSelector, TimelineDirectory, WaitError};
use super::handler::PageServiceHandler;
use super::metrics::METRICS;
use crate::basebackup::{BackupKind, BackupRequest, BasebackupError, Compression, send_basebackup};
use crate::context::with_throttled_time;

impl From<BasebackupError> for QueryError {
    fn from(error: BasebackupError) -> Self {
        match error {
            BasebackupError::Client(source) => source.into(),
            BasebackupError::Cancelled => QueryError::Shutdown,
            BasebackupError::Server(_) => QueryError::Other(error.into()),
        }
    }
}

impl From<WaitError> for QueryError {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Timeout(_) => QueryError::Other(error.into()),
            WaitError::BadState(_) => QueryError::Reconnect,
            WaitError::ShuttingDown => QueryError::Shutdown,
        }
    }
}

/// Why the LSNs of a command do not fit the timeline.
#[derive(Debug, thiserror::Error)]
enum BackupLsnError {
    #[error(
        "invalid basebackup lsn: LSN {lsn} is earlier than latest GC horizon {cutoff} \
         (we might've already garbage collected needed data)"
    )]
    BelowCutoff { lsn: Lsn, cutoff: Lsn },
    #[error("backup_prev {derived} != provided_prev_lsn {provided}")]
    PrevMismatch { derived: Lsn, provided: Lsn },
}

impl<D: TimelineDirectory> PageServiceHandler<D> {
    pub(super) async fn handle_basebackup(
        &mut self,
        pgb: &mut PostgresBackend,
        id: (TenantId, TimelineId),
        lsn: Option<Lsn>,
        gzip: bool,
    ) -> Result<(), QueryError> {
        let started = Instant::now();
        let compression = if gzip { Compression::Gzip } else { Compression::None };
        let kind = |lazy_slru| BackupKind::Sparse { lazy_slru };
        let sent = self.send_backup(pgb, id, (lsn, None), kind, compression);
        let (outcome, held_back) = with_throttled_time(sent).await;
        if let Some(metrics) = METRICS.as_ref() {
            let label = if outcome.is_ok() { "ok" } else { "error" };
            let seconds = started.elapsed().saturating_sub(held_back).as_secs_f64();
            metrics.basebackups.with_label_values(&[label]).observe(seconds);
        }
        outcome
    }

    pub(super) async fn handle_fullbackup(
        &mut self,
        pgb: &mut PostgresBackend,
        id: (TenantId, TimelineId),
        lsn: Option<Lsn>,
        prev: Option<Lsn>,
    ) -> Result<(), QueryError> {
        let kind = if prev.is_some() { BackupKind::Bootable } else { BackupKind::Full };
        self.send_backup(pgb, id, (lsn, prev), |_| kind, Compression::None).await
    }

    async fn send_backup(
        &mut self,
        pgb: &mut PostgresBackend,
        (tenant, timeline): (TenantId, TimelineId),
        (lsn, prev): (Option<Lsn>, Option<Lsn>),
        kind: impl FnOnce(bool) -> BackupKind,
        compression: Compression,
    ) -> Result<(), QueryError> {
        let started = Instant::now();
        let timeline = self.resolve(tenant, ShardSelector::Zero, timeline).await?;
        let cutoff = timeline.gc_cutoff_lsn();
        if let Some(lsn) = lsn {
            tracing::info!("waiting for {lsn}");
            timeline.wait_lsn(lsn).await?;
            if lsn < cutoff {
                let error = BackupLsnError::BelowCutoff { lsn, cutoff };
                return Err(QueryError::Other(error.into()));
            }
        }
        let awaited = started.elapsed();
        let kind = kind(timeline.uses_lazy_slru_download());
        let (lsn, derived) = backup_lsn(lsn, timeline.last_record());
        let prev_lsn =
            agree_on_prev(kind, derived, prev).map_err(|error| QueryError::Other(error.into()))?;
        let is_branch_point = timeline.is_branch_point(lsn);
        let major = timeline.major();
        let request = BackupRequest { lsn, prev_lsn, is_branch_point, kind, major };

        pgb.write_message(&BeMessage::CopyOutResponse)?;
        pgb.flush().await?;
        let cancelled = timeline.cancellation();
        let connection_cancelled = self.cancellation().clone();
        let mut output = pgb.copy_out_writer()?;
        // A receiver that does not read must not delay a shutdown. The half-written stream is
        // of no use to anybody, so dropping the writer anywhere is fine.
        tokio::select! {
            biased;
            () = cancelled.cancelled() => return Err(QueryError::Shutdown),
            () = connection_cancelled.cancelled() => return Err(QueryError::Shutdown),
            sent = send_basebackup(timeline.as_ref(), &request, compression, &mut output) => sent?,
        }
        pgb.write_message(&BeMessage::CopyDone)?;
        pgb.flush().await?;
        tracing::info!(
            lsn_await_millis = awaited.as_millis() as u64,
            basebackup_millis = (started.elapsed() - awaited).as_millis() as u64,
            "basebackup complete"
        );
        Ok(())
    }
}

/// The LSN of the backup, and the end of the record before its last one if known.
fn backup_lsn(requested: Option<Lsn>, newest: LastRecord) -> (Lsn, Lsn) {
    match requested {
        None => (newest.last, newest.prev),
        Some(lsn) if lsn == newest.last => (lsn, newest.prev),
        Some(lsn) => (lsn, Lsn::INVALID),
    }
}

/// Compares what the caller and the timeline know of the previous record. A bootable backup
/// needs the record's start, which lies behind the page header when the position is a page
/// boundary.
fn agree_on_prev(
    kind: BackupKind,
    derived: Lsn,
    provided: Option<Lsn>,
) -> Result<Lsn, BackupLsnError> {
    let start = |lsn: Lsn| match kind {
        BackupKind::Bootable if lsn.is_valid() => lsn.normalize(WAL_SEGMENT_SIZE as u64),
        BackupKind::Bootable | BackupKind::Full | BackupKind::Sparse { .. } => lsn,
    };
    let derived = start(derived);
    let Some(provided) = provided.filter(|lsn| lsn.is_valid()).map(start) else {
        return Ok(derived);
    };
    if derived.is_valid() && derived != provided {
        return Err(BackupLsnError::PrevMismatch { derived, provided });
    }
    Ok(provided)
}
