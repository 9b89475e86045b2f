//! Fills a new root timeline: initdb, or the archive of an earlier one, imported as layers.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use layer_format::TimelineMetadata;
use layer_format::paths::{TEMP_SUFFIX, remote_initdb_archive_path, remote_initdb_preserved_path};
use pageserver_api::models::TimelineCreateRequest;
use postgres_ffi::PgMajor;
use remote_storage::{RemotePath, RemotePathError, RemoteStorageError};
use tracing::info;
use utils::{Lsn, TimelineId, backoff};

use crate::context::{DownloadBehavior, RequestContext};
use crate::ingest::import::{self, ImportError};
use crate::remote::WaitCompletionError;
use crate::tasks::TaskKind;
use crate::timeline::{self, FlushError, Timeline};

use super::create::{CreateTimelineError, CreationGuard};
use super::directory::{self, DirectoryError};
use super::initdb::{self, ArchiveError, ClusterDirectory, InitdbError};
use super::{ShutdownMode, Tenant};

/// Failures before the log says WARN.
const WARN_THRESHOLD: u32 = 3;

/// A new root timeline could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// initdb failed.
    #[error(transparent)]
    Initdb(#[from] InitdbError),
    /// The archive of the cluster could not be written or read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The cluster could not be imported.
    #[error("cannot import the new cluster: {0}")]
    Import(#[from] ImportError),
    /// The imported data could not be written.
    #[error("cannot write the imported data: {0}")]
    Flush(#[from] FlushError),
    /// Nothing was written.
    #[error("new timeline {0} has invalid disk_consistent_lsn")]
    NothingWritten(TimelineId),
    /// Remote storage failed.
    #[error(transparent)]
    Storage(#[from] RemoteStorageError),
    /// A path cannot be formed.
    #[error(transparent)]
    Path(#[from] RemotePathError),
    /// The local directory cannot be changed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The timeline could not be made.
    #[error(transparent)]
    Timeline(#[from] timeline::CreateTimelineError),
    /// The task that does blocking work ended early.
    #[error("bootstrap was interrupted")]
    Interrupted,
    /// A test asked for it.
    #[error("failpoint {0}")]
    Failpoint(&'static str),
}

/// Removes what a failed creation leaves behind.
pub(super) struct UninitGuard {
    directory: Utf8PathBuf,
    armed: bool,
}

impl UninitGuard {
    pub(super) fn new(directory: Utf8PathBuf) -> Self {
        UninitGuard { directory, armed: true }
    }

    /// The creation has succeeded.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for UninitGuard {
    fn drop(&mut self) {
        if self.armed {
            info!("Timeline got dropped without initializing, cleaning its files");
            if let Err(error) = directory::remove_timeline_dir(&self.directory) {
                tracing::error!("{error}");
            }
        }
    }
}

impl Tenant {
    pub(super) async fn bootstrap(
        self: &Arc<Self>,
        guard: CreationGuard<'_>,
        request: &TimelineCreateRequest,
        major: PgMajor,
    ) -> Result<Arc<Timeline>, CreateTimelineError> {
        let id = request.new_timeline_id;
        let cluster = self.make_cluster(request, major).await?;
        let directory = self.conf.timeline_path(&self.tenant_shard_id, &id);
        let mut uninit = UninitGuard::new(directory);
        let timeline = self.import_cluster(id, cluster.path(), major).await?;
        // Not visible before its index is stored: a client that sees it may rely on it. Nobody
        // else knows the timeline, so nobody else would stop it.
        let stored = tokio::select! {
            stored = timeline.remote_client.wait_completion() => stored,
            () = self.cancel.cancelled() => Err(WaitCompletionError::Stopped),
        };
        if let Err(error) = stored {
            timeline.shutdown(ShutdownMode::Hard).await;
            return Err(error.into());
        }
        uninit.disarm();
        guard.publish(&timeline);
        Ok(timeline)
    }

    /// A directory with the cluster that the timeline starts with.
    async fn make_cluster(
        &self,
        request: &TimelineCreateRequest,
        major: PgMajor,
    ) -> Result<ClusterDirectory, BootstrapError> {
        let id = request.new_timeline_id;
        let preferred = self
            .conf
            .timelines_path(&self.tenant_shard_id)
            .join(format!("basebackup-{id}.{TEMP_SUFFIX}"));
        let cluster = ClusterDirectory::create(preferred, &self.conf.postgres)?;
        match request.existing_initdb_timeline_id {
            Some(existing) => self.restore_archive(existing, id, cluster.path()).await?,
            None => {
                {
                    let _permit = self.resources.initdb.acquire().await;
                    cluster.run_initdb(&self.conf.postgres, major, &self.cancel).await?;
                }
                if self.tenant_shard_id.is_shard_zero() {
                    utils::pausable_failpoint!("before-initdb-upload");
                    self.store_archive(id, cluster.path()).await?;
                }
            }
        }
        Ok(cluster)
    }

    /// Keeps the cluster in remote storage.
    async fn store_archive(
        &self,
        timeline: TimelineId,
        cluster: &Utf8Path,
    ) -> Result<(), BootstrapError> {
        let staged = self
            .conf
            .timelines_path(&self.tenant_shard_id)
            .join(format!("initdb.tar.zst.upload-{timeline}.{TEMP_SUFFIX}"));
        let (from, to) = (cluster.to_owned(), staged.clone());
        let size = blocking(move || initdb::pack(&from, &to)).await??;
        let path = RemotePath::new(remote_initdb_archive_path(
            &self.tenant_shard_id.tenant_id,
            &timeline,
        ))?;
        let upload =
            || self.resources.remote.storage.upload_file(staged.clone(), size, &path, &self.cancel);
        let outcome = self.retried("persist initdb archive", upload).await;
        directory::remove_all(&staged)?;
        Ok(outcome?)
    }

    /// Copies the archive of a timeline's cluster to where the timeline's deletion spares it.
    pub async fn preserve_initdb_archive(
        &self,
        timeline: TimelineId,
    ) -> Result<(), RemoteStorageError> {
        let tenant = &self.tenant_shard_id.tenant_id;
        let path = |text| {
            let bad = |error: RemotePathError| RemoteStorageError::BadInput(error.to_string());
            RemotePath::new(text).map_err(bad)
        };
        let from = path(remote_initdb_archive_path(tenant, &timeline))?;
        let to = path(remote_initdb_preserved_path(tenant, &timeline))?;
        let copy = || self.resources.remote.storage.copy(&from, &to, &self.cancel);
        self.retried("preserve initdb archive", copy).await
    }

    /// Takes the cluster of another timeline, or the same cluster again on another shard.
    async fn restore_archive(
        &self,
        existing: TimelineId,
        timeline: TimelineId,
        cluster: &Utf8Path,
    ) -> Result<(), BootstrapError> {
        let tenant = &self.tenant_shard_id.tenant_id;
        let storage = &self.resources.remote.storage;
        let mut path = RemotePath::new(remote_initdb_archive_path(tenant, &existing))?;
        let mut archive = storage.download_bytes(&path, &self.cancel).await;
        if archive.as_ref().is_err_and(RemoteStorageError::is_not_found) {
            path = RemotePath::new(remote_initdb_preserved_path(tenant, &existing))?;
            let download = || storage.download_bytes(&path, &self.cancel);
            archive = self.retried("download initdb archive", download).await;
        }
        let archive = archive?;
        if existing != timeline {
            let own = RemotePath::new(remote_initdb_archive_path(tenant, &timeline))?;
            let copy = || storage.copy(&path, &own, &self.cancel);
            self.retried("copy initdb archive", copy).await?;
        }
        let target = cluster.to_owned();
        blocking(move || initdb::unpack(&archive, &target)).await??;
        Ok(())
    }

    /// Repeats a remote operation until it succeeds, fails permanently or the tenant stops.
    async fn retried<T, F>(
        &self,
        what: &str,
        operation: impl FnMut() -> F,
    ) -> Result<T, RemoteStorageError>
    where
        F: Future<Output = Result<T, RemoteStorageError>>,
    {
        let permanent = RemoteStorageError::is_permanent;
        backoff::retry(operation, permanent, WARN_THRESHOLD, u32::MAX, what, &self.cancel)
            .await
            .unwrap_or(Err(RemoteStorageError::Cancelled))
    }

    async fn import_cluster(
        self: &Arc<Self>,
        id: TimelineId,
        cluster: &Utf8Path,
        major: PgMajor,
    ) -> Result<Arc<Timeline>, BootstrapError> {
        let lsn = import::datadir_lsn(cluster.as_std_path())?;
        let timeline = self.empty_root(id, lsn, major).await?;
        let filled = self.fill(&timeline, cluster, lsn).await;
        if filled.is_err() {
            timeline.shutdown(ShutdownMode::Hard).await;
        }
        filled.map(|()| timeline)
    }

    /// A timeline without an ancestor, at `lsn`, with nothing in it. Nobody knows it yet.
    pub(super) async fn empty_root(
        self: &Arc<Self>,
        id: TimelineId,
        lsn: Lsn,
        major: PgMajor,
    ) -> Result<Arc<Timeline>, BootstrapError> {
        let metadata = TimelineMetadata {
            disk_consistent_lsn: Lsn(0),
            prev_record_lsn: None,
            ancestor_timeline: None,
            ancestor_lsn: Lsn(0),
            latest_gc_cutoff_lsn: lsn,
            initdb_lsn: lsn,
            pg_version: major.number(),
        };
        let client = self.remote_client(id);
        client.init_for_new_timeline(&metadata);
        let params = self.timeline_params(id, metadata, None, client);
        Ok(Timeline::new_empty(params).await?)
    }

    async fn fill(
        &self,
        timeline: &Arc<Timeline>,
        cluster: &Utf8Path,
        lsn: Lsn,
    ) -> Result<(), BootstrapError> {
        let (shard, major) = (self.shard_identity, timeline.pg_major);
        let ctx = RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);
        let store = timeline.keys(ctx);
        import::import_datadir(&store, shard, major, cluster.as_std_path(), lsn).await?;
        utils::pausable_failpoint!(
            "before-checkpoint-new-timeline",
            Err(BootstrapError::Failpoint("before-checkpoint-new-timeline"))
        );
        timeline.freeze_and_flush().await?;
        if timeline.disk_consistent_lsn().is_valid() {
            Ok(())
        } else {
            Err(BootstrapError::NothingWritten(timeline.timeline_id))
        }
    }
}

/// Runs blocking work on the blocking pool.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BootstrapError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BootstrapError::Interrupted)
}
