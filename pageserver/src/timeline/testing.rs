//! A timeline in a temporary directory, for tests of the engine and of what stands on it.

use std::sync::Arc;

use camino::Utf8PathBuf;
use futures::FutureExt;
use layer_format::{IndexPart, TimelineMetadata};
use pageserver_api::shard::{ShardIdentity, TenantShardId};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use utils::{Generation, Lsn, TenantId, TimelineId};

use super::{LoadTimelineError, ReadThrottle, ShutdownMode, Timeline, TimelineParams};
use crate::config::{AttachMode, AttachedTenantConf, PageServerConf, TenantConfHandle};
use crate::context::{DownloadBehavior, RequestContext};
use crate::redo::RedoManager;
use crate::remote::testing::TestStore;
use crate::remote::{RemoteTimelineClient, download_index};
use crate::tasks::TaskKind;

/// Where timelines of tests begin.
pub const INITDB_LSN: Lsn = Lsn(0x100);
/// The generation of their layers.
pub const GENERATION: Generation = Generation::Valid(1);

/// A context that allows everything.
pub const fn test_ctx() -> RequestContext {
    RequestContext::new(TaskKind::UnitTest, DownloadBehavior::Download)
}

/// A store, a directory, and what timelines need.
pub struct TimelineHarness {
    pub store: TestStore,
    pub conf: &'static PageServerConf,
    pub tenant_conf: TenantConfHandle,
    pub tenant_shard_id: TenantShardId,
}

impl Default for TimelineHarness {
    fn default() -> Self {
        Self::new()
    }
}

impl TimelineHarness {
    pub fn new() -> TimelineHarness {
        let store = TestStore::new();
        let conf = PageServerConf::for_tests(&store.local_dir().join("workdir"));
        TimelineHarness {
            conf,
            tenant_conf: TenantConfHandle::for_tests(GENERATION),
            tenant_shard_id: TenantShardId::unsharded(TenantId::generate()),
            store,
        }
    }

    /// Changes the tenant's options.
    pub fn configure(&self, change: impl FnOnce(&mut pageserver_api::models::TenantConfig)) {
        let old = self.tenant_conf.load();
        let mut effective = old.effective.clone();
        change(&mut effective);
        self.tenant_conf.store(AttachedTenantConf {
            generation: old.generation,
            attach_mode: AttachMode::Single,
            overrides: old.overrides.clone(),
            effective,
        });
    }

    fn client(&self, timeline_id: TimelineId) -> RemoteTimelineClient {
        let resources = self.store.resources();
        RemoteTimelineClient::new(resources, self.tenant_shard_id, timeline_id, GENERATION)
    }

    fn params(
        &self,
        timeline_id: TimelineId,
        metadata: TimelineMetadata,
        ancestor: Option<Arc<Timeline>>,
        remote_client: RemoteTimelineClient,
    ) -> TimelineParams {
        TimelineParams {
            conf: self.conf,
            tenant_conf: self.tenant_conf.clone(),
            tenant_shard_id: self.tenant_shard_id,
            timeline_id,
            shard_identity: ShardIdentity::unsharded(),
            metadata,
            ancestor,
            remote_client,
            redo: Arc::new(RedoManager::new(
                &self.conf.redo,
                self.tenant_shard_id,
                self.conf.tenant_path(&self.tenant_shard_id),
                CancellationToken::new(),
            )),
            parent_cancel: CancellationToken::new(),
            runtime: Handle::current(),
            io: crate::storage_io::StorageIo::new(10, 100),
            throttle: Arc::new(ReadThrottle::new(self.tenant_conf.clone())),
        }
    }

    fn create(&self, metadata: TimelineMetadata, ancestor: Option<Arc<Timeline>>) -> Arc<Timeline> {
        let timeline_id = TimelineId::generate();
        let client = self.client(timeline_id);
        client.init_for_new_timeline(&metadata);
        let made = Timeline::new_empty(self.params(timeline_id, metadata, ancestor, client));
        let timeline = made.now_or_never().expect("no failpoint is set").unwrap();
        timeline.activate();
        timeline
    }

    /// A new, active timeline that is ready for a bootstrap.
    pub fn create_timeline(&self) -> Arc<Timeline> {
        let metadata = TimelineMetadata {
            disk_consistent_lsn: Lsn::INVALID,
            prev_record_lsn: None,
            ancestor_timeline: None,
            ancestor_lsn: Lsn::INVALID,
            latest_gc_cutoff_lsn: INITDB_LSN,
            initdb_lsn: INITDB_LSN,
            pg_version: 15,
        };
        self.create(metadata, None)
    }

    /// An active branch.
    pub fn branch(&self, ancestor: &Arc<Timeline>, start_lsn: Lsn) -> Arc<Timeline> {
        self.create(ancestor.branch_metadata(start_lsn), Some(Arc::clone(ancestor)))
    }

    /// Ends a timeline as a crash would, and loads it again from what is durable.
    pub async fn restart(&self, timeline: Arc<Timeline>) -> Arc<Timeline> {
        timeline.shutdown(ShutdownMode::Hard).await;
        let ancestor = timeline.ancestor().map(|(ancestor, _)| ancestor);
        self.load(timeline.timeline_id, ancestor).await.unwrap()
    }

    /// Loads a timeline without ancestor from what is durable.
    pub async fn try_load(
        &self,
        timeline_id: TimelineId,
    ) -> Result<Arc<Timeline>, LoadTimelineError> {
        self.load(timeline_id, None).await
    }

    async fn load(
        &self,
        timeline_id: TimelineId,
        ancestor: Option<Arc<Timeline>>,
    ) -> Result<Arc<Timeline>, LoadTimelineError> {
        let index = self.index(timeline_id).await;
        let client = self.client(timeline_id);
        client.init_from_index(&index);
        let params = self.params(timeline_id, index.metadata.clone(), ancestor, client);
        let timeline = Timeline::load(params, &index).await?;
        timeline.activate();
        Ok(timeline)
    }

    /// The index in remote storage.
    pub async fn index(&self, timeline_id: TimelineId) -> IndexPart {
        let storage = &self.store.storage;
        let shard = &self.tenant_shard_id;
        let cancel = &self.store.cancel;
        download_index(storage, shard, &timeline_id, GENERATION, cancel).await.unwrap().0
    }

    /// A timeline's local directory.
    pub fn directory(&self, timeline_id: TimelineId) -> Utf8PathBuf {
        self.conf.timeline_path(&self.tenant_shard_id, &timeline_id)
    }
}
