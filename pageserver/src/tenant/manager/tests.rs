mod hand_over;

use camino::Utf8Path;
use layer_format::paths::remote_index_path;
use pageserver_api::models::{
    LocationConfig, LocationConfigMode, TenantConfigOverrides, TenantState, TimelineCreateRequest,
};
use pageserver_api::shard::{DEFAULT_STRIPE_SIZE_PAGES, ShardCount, ShardIdentity, ShardNumber};
use postgres_ffi::PgMajor;
use tokio::sync::Semaphore;
use utils::{Generation, TenantId, TimelineId};

use super::*;
use crate::config::AttachMode;
use crate::remote::testing::TestStore;
use crate::tenant::{
    ACTIVE_TENANT_TIMEOUT, CreateTimelineError, DeleteTimelineError, ReceiverResources,
};

/// A node whose local directory and remote storage vanish with the test.
struct Node {
    store: TestStore,
    conf: &'static PageServerConf,
    manager: Arc<TenantManager>,
    shard: TenantShardId,
}

impl Node {
    async fn new() -> Node {
        Node::with_store(TestStore::new()).await
    }

    async fn with_store(store: TestStore) -> Node {
        let workdir = store.local_dir().join("work");
        std::fs::create_dir(&workdir).unwrap();
        let conf = PageServerConf::for_tests(&workdir);
        let manager = start(&store, conf).await;
        let shard = TenantShardId::unsharded(TenantId::generate());
        Node { store, conf, manager, shard }
    }

    /// The same node after a restart.
    async fn restart(self) -> Node {
        self.manager.shutdown().await;
        let manager = start(&self.store, self.conf).await;
        Node { manager, ..self }
    }

    async fn put_location(
        &self,
        mode: LocationConfigMode,
        generation: u32,
    ) -> Result<Arc<Tenant>, UpsertLocationError> {
        let request = LocationConfig {
            mode,
            ..LocationConfig::attached_single(generation, TenantConfigOverrides::default())
        };
        let location = LocationConf::try_from(request).unwrap();
        let changed =
            self.manager.upsert_location(self.shard, location, None, SpawnMode::Eager).await?;
        Ok(changed.attached().cloned().expect("an attached mode was asked for"))
    }

    async fn put_secondary(&self, warm: bool) -> Arc<SecondaryTenant> {
        let location = LocationConf {
            mode: LocationMode::Secondary { warm },
            shard: ShardIdentity::unsharded(),
            tenant_conf: TenantConfigOverrides::default(),
        };
        let changed =
            self.manager.upsert_location(self.shard, location, None, SpawnMode::Eager).await;
        changed.unwrap().secondary().cloned().unwrap()
    }

    async fn attach(&self, generation: u32) -> Arc<Tenant> {
        let tenant =
            self.put_location(LocationConfigMode::AttachedSingle, generation).await.unwrap();
        tenant.wait_active(ACTIVE_TENANT_TIMEOUT).await.unwrap();
        tenant
    }

    /// A root timeline; `None` where PostgreSQL is not installed.
    async fn bootstrap(&self, tenant: &Arc<Tenant>) -> Option<TimelineId> {
        self.conf.postgres.installation(PgMajor::V15).ok()?;
        let request = root(TimelineId::generate());
        let timeline = tenant.create_timeline(&request, PgMajor::V15).await.unwrap();
        Some(timeline.timeline_id)
    }

    async fn corrupt_index(&self, timeline: TimelineId, generation: u32) {
        let generation = Generation::Valid(generation);
        let path = remote_index_path(&self.shard, &timeline, generation);
        let whole = self.store.get(&path).await.unwrap();
        self.store.put(&path, whole.slice(..whole.len() / 2)).await;
    }
}

async fn start(store: &TestStore, conf: &'static PageServerConf) -> Arc<TenantManager> {
    let resources = TenantResources {
        remote: store.resources(),
        receiver: ReceiverResources {
            // Nobody listens there: the timelines of these tests receive no WAL.
            broker: storage_broker::client::connect(
                "http://127.0.0.1:1",
                Duration::from_secs(5),
                None,
            )
            .unwrap(),
            auth_token: None,
            runtime: tokio::runtime::Handle::current(),
        },
        warmup: Arc::new(Semaphore::new(8)),
        initdb: Arc::new(Semaphore::new(1)),
        background: crate::tasks::BackgroundLimit::new(1),
        background_can_start: CancellationToken::new(),
        io: crate::storage_io::StorageIo::new(10, 100),
    };
    let manager = TenantManager::new(conf, resources, store.cancel.child_token());
    manager.start(&StartupProgress::default()).await.unwrap();
    manager
}

fn root(timeline: TimelineId) -> TimelineCreateRequest {
    TimelineCreateRequest {
        new_timeline_id: timeline,
        ancestor_timeline_id: None,
        existing_initdb_timeline_id: None,
        ancestor_start_lsn: None,
        pg_version: None,
    }
}

fn branch(ancestor: TimelineId) -> TimelineCreateRequest {
    TimelineCreateRequest { ancestor_timeline_id: Some(ancestor), ..root(TimelineId::generate()) }
}

/// Waits until a timeline is gone.
async fn wait_deleted(tenant: &Tenant, timeline: TimelineId) {
    let gone = async {
        while tenant.get_timeline(timeline).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}

fn entries(path: &Utf8Path) -> usize {
    path.read_dir_utf8().map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_new_tenant_becomes_active_and_is_empty() {
    let node = Node::new().await;
    let tenant = node.attach(1).await;
    assert!(tenant.list_timelines().is_empty());
    assert!(node.conf.tenant_location_path(&node.shard).exists());
}

#[tokio::test]
async fn the_same_generation_reconfigures_without_a_restart() {
    let node = Node::new().await;
    let tenant = node.attach(1).await;
    let again = node.put_location(LocationConfigMode::AttachedStale, 1).await.unwrap();
    assert!(Arc::ptr_eq(&tenant, &again));
    assert_eq!(tenant.tenant_conf.load().attach_mode, AttachMode::Stale);
    assert_eq!(tenant.state.current(), TenantState::Active);
}

#[tokio::test]
async fn a_higher_generation_replaces_the_tenant() {
    let node = Node::new().await;
    let old = node.attach(1).await;
    let new = node.attach(2).await;
    assert!(!Arc::ptr_eq(&old, &new));
    assert!(old.gate.close_complete());
    assert_eq!(new.generation, Generation::Valid(2));
}

#[tokio::test]
async fn a_lower_generation_is_refused() {
    let node = Node::new().await;
    node.attach(2).await;
    let error = node.put_location(LocationConfigMode::AttachedSingle, 1).await;
    let text = error.map(|_| ()).unwrap_err().to_string();
    assert_eq!(text, "Generation 00000001 is less than existing 00000002");
}

#[tokio::test]
async fn a_demoted_tenant_is_secondary_and_stays_so_after_a_restart() {
    let node = Node::new().await;
    let tenant = node.attach(1).await;
    node.put_secondary(true).await;
    assert!(tenant.gate.close_complete());
    assert!(matches!(node.manager.get(&node.shard), Err(SlotError::NotFound(_))));
    let node = node.restart().await;
    let secondary = node.manager.get_secondary(&node.shard).unwrap();
    assert!(secondary.is_warm());
}

#[tokio::test]
async fn a_secondary_location_is_reconfigured_in_place() {
    let node = Node::new().await;
    let warm = node.put_secondary(true).await;
    let cold = node.put_secondary(false).await;
    assert!(Arc::ptr_eq(&warm, &cold));
    assert!(!warm.is_warm());
    let path = node.conf.tenant_location_path(&node.shard);
    let stored = crate::config::location::load(&path).unwrap();
    assert_eq!(stored.mode, LocationMode::Secondary { warm: false });
}

#[tokio::test]
async fn a_secondary_location_serves_nobody() {
    let node = Node::new().await;
    node.put_secondary(true).await;
    let selector = ShardSelector::First;
    let found = node.manager.get_active_tenant(node.shard.tenant_id, selector).await;
    assert!(matches!(found, Err(GetActiveTimelineError::TenantNotFound(_))));
}

#[tokio::test]
async fn every_role_can_follow_every_other() {
    let node = Node::new().await;
    let mut generation = 0;
    for round in 0..3 {
        node.put_secondary(round % 2 == 0).await;
        for mode in [
            LocationConfigMode::AttachedMulti,
            LocationConfigMode::AttachedStale,
            LocationConfigMode::AttachedSingle,
        ] {
            generation += 1;
            let tenant = node.put_location(mode, generation).await.unwrap();
            tenant.wait_active(ACTIVE_TENANT_TIMEOUT).await.unwrap();
            let again = node.put_location(mode, generation).await.unwrap();
            assert!(Arc::ptr_eq(&tenant, &again), "{mode:?} is idempotent");
        }
    }
    node.put_secondary(true).await;
    node.manager.detach(node.shard).await.unwrap();
    assert!(!node.conf.tenant_path(&node.shard).exists());
}

#[tokio::test]
async fn a_detached_tenant_is_gone_and_its_directory_too() {
    let node = Node::new().await;
    node.attach(1).await;
    node.manager.detach(node.shard).await.unwrap();
    assert!(matches!(node.manager.get(&node.shard), Err(SlotError::NotFound(_))));
    assert!(!node.conf.tenant_path(&node.shard).exists());
    let again = node.manager.detach(node.shard).await;
    assert!(matches!(again, Err(RemoveTenantError::Slot(SlotError::NotFound(_)))));
}

#[tokio::test]
async fn a_tenant_that_cannot_be_read_yet_can_be_detached_at_once() {
    let mut store = TestStore::new();
    store.storage = store.storage.with_simulated_failures(u32::MAX);
    let node = Node::with_store(store).await;
    let tenant = node.put_location(LocationConfigMode::AttachedSingle, 1).await.unwrap();
    assert_eq!(tenant.state.current(), TenantState::Attaching);
    let detach = node.manager.detach(node.shard);
    tokio::time::timeout(Duration::from_secs(30), detach).await.unwrap().unwrap();
    assert!(matches!(node.manager.get(&node.shard), Err(SlotError::NotFound(_))));
}

#[tokio::test]
async fn a_request_waits_for_the_operation_that_owns_the_slot() {
    let node = Node::new().await;
    let guard = node.manager.slots.acquire(node.shard, AcquireMode::Any).unwrap();
    let (manager, tenant_id) = (Arc::clone(&node.manager), node.shard.tenant_id);
    let waiter = tokio::spawn(async move {
        manager.get_active_tenant(tenant_id, ShardSelector::First).await.map(|_| ())
    });
    tokio::task::yield_now().await;
    guard.remove();
    let outcome = waiter.await.unwrap();
    assert!(matches!(outcome, Err(GetActiveTimelineError::TenantNotFound(_))));
}

#[tokio::test]
async fn a_request_finds_the_shard_that_owns_its_key() {
    let node = Node::new().await;
    let tenant_id = node.shard.tenant_id;
    for number in 0..2 {
        let shard =
            ShardIdentity::new(ShardNumber(number), ShardCount(2), DEFAULT_STRIPE_SIZE_PAGES)
                .unwrap();
        let location = LocationConf {
            mode: LocationMode::Attached {
                generation: Generation::Valid(1),
                attach_mode: AttachMode::Single,
            },
            shard,
            tenant_conf: TenantConfigOverrides::default(),
        };
        let id = shard.tenant_shard_id(tenant_id);
        node.manager.upsert_location(id, location, None, SpawnMode::Eager).await.unwrap();
    }
    for (block, owner) in [(0, 0), (32768, 1), (65536, 0)] {
        let key = pageserver_api::Key::new(0, 1663, 5, 16384, 0, block);
        let found = node.manager.get_active_tenant(tenant_id, ShardSelector::Page(key)).await;
        assert_eq!(found.ok().unwrap().shard_identity.number, ShardNumber(owner), "{block}");
    }
}

#[tokio::test]
async fn a_deleted_tenant_leaves_nothing_in_remote_storage() {
    let node = Node::new().await;
    let prefix = format!("tenants/{}/timelines", node.shard);
    node.store.put(&format!("{prefix}/{}/junk", TimelineId::generate()), "x").await;
    node.attach(1).await;
    for _ in 0..2 {
        node.manager.delete(node.shard).await.unwrap();
        assert!(node.store.keys().await.is_empty());
    }
}

#[tokio::test]
async fn a_restart_attaches_in_the_persisted_generation() {
    let node = Node::new().await;
    node.attach(7).await;
    let node = node.restart().await;
    let tenant = node.manager.get(&node.shard).unwrap();
    tenant.wait_active(ACTIVE_TENANT_TIMEOUT).await.unwrap();
    assert_eq!(tenant.generation, Generation::Valid(7));
}

#[tokio::test]
async fn an_unreadable_location_breaks_one_tenant_and_can_be_replaced() {
    let node = Node::new().await;
    node.attach(3).await;
    let path = node.conf.tenant_location_path(&node.shard);
    node.manager.shutdown().await;
    std::fs::write(&path, "[mode.Att").unwrap();
    let node = node.restart().await;
    let broken = node.manager.get(&node.shard).unwrap();
    let TenantState::Broken { reason, .. } = broken.state.current() else {
        panic!("{}", broken.state.current());
    };
    assert!(reason.contains("config-v1"), "{reason}");
    node.attach(4).await;
}

#[tokio::test]
async fn a_closed_manager_refuses_changes_but_knows_its_tenants() {
    let node = Node::new().await;
    node.attach(1).await;
    node.manager.shutdown().await;
    assert!(node.manager.get(&node.shard).is_ok());
    let refused = node.put_location(LocationConfigMode::AttachedSingle, 2).await;
    assert!(matches!(refused, Err(UpsertLocationError::Slot(SlotError::ShuttingDown))));
}

#[tokio::test]
async fn timelines_come_back_from_remote_storage_alone() {
    let node = Node::new().await;
    let tenant = node.attach(1).await;
    let Some(root) = node.bootstrap(&tenant).await else { return };
    let child = tenant.create_timeline(&branch(root), PgMajor::V15).await.unwrap();
    let (child, lsn) = (child.timeline_id, child.last_record_lsn());
    node.manager.shutdown().await;
    std::fs::remove_dir_all(node.conf.timelines_path(&node.shard)).unwrap();

    let node = node.restart().await;
    let tenant = node.manager.get(&node.shard).unwrap();
    tenant.wait_active(ACTIVE_TENANT_TIMEOUT).await.unwrap();
    let loaded = tenant.get_active_timeline(child).unwrap();
    assert_eq!(loaded.last_record_lsn(), lsn);
    assert_eq!(loaded.ancestor_timeline_id(), Some(root));
}

#[tokio::test]
async fn a_repeated_creation_succeeds_and_a_different_one_conflicts() {
    let node = Node::new().await;
    let tenant = node.attach(1).await;
    let Some(ancestor) = node.bootstrap(&tenant).await else { return };
    let request = branch(ancestor);
    let first = tenant.create_timeline(&request, PgMajor::V15).await.unwrap();
    let again = tenant.create_timeline(&request, PgMajor::V15).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let other = tenant.create_timeline(&root(request.new_timeline_id), PgMajor::V15).await;
    assert!(matches!(other, Err(CreateTimelineError::Conflict)));
    let other = tenant.create_timeline(&request, PgMajor::V16).await;
    assert!(matches!(other, Err(CreateTimelineError::Conflict)));
}

#[tokio::test]
async fn a_failed_bootstrap_leaves_no_directory() {
    let node = Node::new().await;
    let tenant = node.attach(1).await;
    if node.conf.postgres.installation(PgMajor::V18).is_ok() {
        return;
    }
    let outcome = tenant.create_timeline(&root(TimelineId::generate()), PgMajor::V18).await;
    let text = outcome.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("PostgreSQL 18 is not installed"), "{text}");
    assert_eq!(entries(&node.conf.timelines_path(&node.shard)), 0);
}

#[tokio::test]
async fn a_corrupt_index_breaks_its_timeline_and_its_branches_only() {
    let node = Node::new().await;
    let tenant = node.attach(1).await;
    let Some(bad) = node.bootstrap(&tenant).await else { return };
    let Some(good) = node.bootstrap(&tenant).await else { return };
    let child = tenant.create_timeline(&branch(bad), PgMajor::V15).await.unwrap().timeline_id;
    node.corrupt_index(bad, 1).await;

    let node = node.restart().await;
    let tenant = node.manager.get(&node.shard).unwrap();
    tenant.wait_active(ACTIVE_TENANT_TIMEOUT).await.unwrap();
    assert!(tenant.get_active_timeline(good).is_ok());
    for broken in [bad, child] {
        assert!(tenant.unloadable_timelines().contains_key(&broken));
        let refused = tenant.delete_timeline(broken).await;
        assert!(matches!(refused, Err(DeleteTimelineError::Unloadable(_))));
    }
    assert!(tenant.unloadable_timelines()[&bad].contains("index_part.json"));
    assert!(!tenant.may_remove_layers());
}

#[tokio::test]
async fn a_timeline_with_branches_is_not_deleted_before_them() {
    let node = Node::new().await;
    let tenant = node.attach(1).await;
    let Some(root) = node.bootstrap(&tenant).await else { return };
    let child = tenant.create_timeline(&branch(root), PgMajor::V15).await.unwrap().timeline_id;
    let refused = tenant.delete_timeline(root).await.unwrap_err();
    assert!(refused.to_string().contains(&child.to_string()), "{refused}");
    for timeline in [child, root] {
        tenant.delete_timeline(timeline).await.unwrap();
        wait_deleted(&tenant, timeline).await;
        assert!(!node.conf.timeline_path(&node.shard, &timeline).exists());
    }
    assert!(node.store.keys().await.is_empty());
}

#[tokio::test]
async fn a_reset_tenant_is_another_one_in_the_same_generation() {
    let node = Node::new().await;
    let old = node.attach(5).await;
    let stray = node.conf.timeline_path(&node.shard, &TimelineId::generate());
    for drop_cache in [false, true] {
        std::fs::create_dir_all(&stray).unwrap();
        node.manager.reset(node.shard, drop_cache).await.unwrap();
        let new = node.manager.get(&node.shard).unwrap();
        new.wait_active(ACTIVE_TENANT_TIMEOUT).await.unwrap();
        assert!(!Arc::ptr_eq(&old, &new));
        assert_eq!(new.generation, Generation::Valid(5));
        assert!(!stray.exists());
    }
}

#[tokio::test]
async fn only_attached_tenants_can_be_reset() {
    let node = Node::new().await;
    let error = node.manager.reset(node.shard, false).await.unwrap_err().to_string();
    assert!(error.starts_with("Tenant not found when trying to reset"), "{error}");
    node.put_secondary(true).await;
    let error = node.manager.reset(node.shard, false).await.unwrap_err().to_string();
    assert_eq!(error, "Tenant is not in attached state");
    assert!(node.manager.get_secondary(&node.shard).is_ok(), "it stays what it was");
}

#[tokio::test]
async fn the_newest_generation_of_every_shard_is_found_in_remote_storage() {
    let node = Node::new().await;
    let tenant = node.shard.tenant_id;
    let timeline = TimelineId::generate();
    for (shard, generation) in [("", 3), ("", 7), ("-0104", 9)] {
        let shard: TenantShardId = format!("{tenant}{shard}").parse().unwrap();
        let path = remote_index_path(&shard, &timeline, Generation::Valid(generation));
        node.store.put(&path, "{}").await;
    }
    node.store.put(&format!("tenants/{tenant}-0204/heatmap-v1.json"), "{}").await;
    let found = node.manager.scan_remote_storage(tenant).await.unwrap();
    let found: Vec<_> =
        found.into_iter().map(|(shard, generation)| (shard.shard_slug(), generation)).collect();
    let expected = [
        ("0000".to_owned(), Generation::Valid(7)),
        ("0104".to_owned(), Generation::Valid(9)),
        ("0204".to_owned(), Generation::None),
    ];
    assert_eq!(found, expected);
    let nobody = node.manager.scan_remote_storage(TenantId::generate()).await.unwrap();
    assert!(nobody.is_empty());
}
