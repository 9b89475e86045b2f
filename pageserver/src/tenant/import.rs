//! Creates a timeline from a backup of a stock cluster: its data directory, then its WAL.
//!
//! Like any new timeline it is visible, and acknowledged, only when its index is stored.

use std::sync::Arc;

use postgres_ffi::PgMajor;
use tracing::info;
use utils::{Lsn, TimelineId};

use crate::context::{DownloadBehavior, RequestContext};
use crate::ingest::import::tarball::{self, TarChunks};
use crate::remote::WaitCompletionError;
use crate::tasks::TaskKind;
use crate::timeline::{FlushError, Timeline};

use super::bootstrap::{BootstrapError, UninitGuard};
use super::create::{CreateTimelineError, Reservation};
use super::{GetTimelineError, ShutdownMode, Tenant};

/// Who writes what is imported.
const CONTEXT: RequestContext =
    RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);

/// WAL could not be added to a timeline.
#[derive(Debug, thiserror::Error)]
pub enum ImportWalError {
    /// There is no such timeline, or it does not serve.
    #[error(transparent)]
    Timeline(#[from] GetTimelineError),
    /// The WAL does not continue the timeline.
    #[error(
        "Cannot import WAL from Lsn {start} because timeline does not start from the same lsn: {last}"
    )]
    Gap {
        /// Where the WAL starts.
        start: Lsn,
        /// Where the timeline ends.
        last: Lsn,
    },
    /// The WAL is not what it should be.
    #[error(transparent)]
    Import(#[from] crate::ingest::import::ImportError),
    /// What was imported could not be written.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// What was imported could not be stored.
    #[error(transparent)]
    Store(#[from] WaitCompletionError),
}

impl Tenant {
    /// Creates a timeline from the archive of a data directory as of `base_lsn`. The archive of a
    /// running cluster is sound only with the WAL up to the end of the backup, see
    /// [`import_wal`](Self::import_wal).
    pub async fn import_basebackup(
        self: &Arc<Self>,
        id: TimelineId,
        base_lsn: Lsn,
        major: PgMajor,
        tar: TarChunks,
    ) -> Result<Arc<Timeline>, CreateTimelineError> {
        if !self.state.is_active() {
            return Err(CreateTimelineError::TenantNotActive);
        }
        let _entered = self.gate.enter().map_err(|_| CreateTimelineError::ShuttingDown)?;
        let guard = match self.reserve(id)? {
            Reservation::Existing(_) => return Err(CreateTimelineError::Conflict),
            Reservation::New(guard) => guard,
        };
        let directory = self.conf.timeline_path(&self.tenant_shard_id, &id);
        let mut uninit = UninitGuard::new(directory);
        let timeline = self.empty_root(id, base_lsn, major).await?;
        // Nobody else knows the timeline, so nobody else would stop it.
        let filled = tokio::select! {
            filled = self.fill_from_tar(&timeline, base_lsn, tar) => filled,
            () = self.cancel.cancelled() => Err(CreateTimelineError::ShuttingDown),
        };
        if let Err(error) = filled {
            timeline.shutdown(ShutdownMode::Hard).await;
            return Err(error);
        }
        uninit.disarm();
        guard.publish(&timeline);
        self.activate_timeline(&timeline);
        info!(timeline_id = %id, "timeline imported at {base_lsn}");
        Ok(timeline)
    }

    async fn fill_from_tar(
        &self,
        timeline: &Arc<Timeline>,
        base_lsn: Lsn,
        tar: TarChunks,
    ) -> Result<(), CreateTimelineError> {
        let (shard, major) = (self.shard_identity, timeline.pg_major);
        let store = timeline.keys(CONTEXT);
        let imported = tarball::import_base_tar(&store, shard, major, base_lsn, tar).await;
        imported.map_err(BootstrapError::from)?;
        utils::pausable_failpoint!(
            "before-checkpoint-new-timeline",
            Err(BootstrapError::Failpoint("before-checkpoint-new-timeline").into())
        );
        timeline.freeze_and_flush().await.map_err(BootstrapError::from)?;
        if !timeline.disk_consistent_lsn().is_valid() {
            return Err(BootstrapError::NothingWritten(timeline.timeline_id).into());
        }
        Ok(timeline.remote_client.wait_completion().await?)
    }

    /// Adds the WAL of an archive, from the end of the timeline up to `end`.
    pub async fn import_wal(
        self: &Arc<Self>,
        id: TimelineId,
        (start, end): (Lsn, Lsn),
        tar: TarChunks,
    ) -> Result<(), ImportWalError> {
        let timeline = self.get_active_timeline(id)?;
        let last = timeline.last_record_lsn();
        if last != start {
            return Err(ImportWalError::Gap { start, last });
        }
        let store = timeline.keys(CONTEXT);
        let (shard, major) = (self.shard_identity, timeline.pg_major);
        tarball::import_wal_tar(&store, shard, major, (start, end), tar).await?;
        timeline.freeze_and_flush().await?;
        timeline.remote_client.wait_completion().await?;
        info!(timeline_id = %id, "WAL imported from {start} to {end}");
        Ok(())
    }
}
