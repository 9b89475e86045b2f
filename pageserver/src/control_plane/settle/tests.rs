use camino::Utf8PathBuf;
use pageserver_api::models::TenantConfigOverrides;
use pageserver_api::shard::ShardIdentity;
use tokio_util::sync::CancellationToken;
use utils::{NodeId, TenantId};

use super::*;
use crate::config::{AttachMode, UpcallConfig};

struct Node {
    _dir: tempfile::TempDir,
    conf: &'static PageServerConf,
}

impl Node {
    fn new() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        Node { conf: PageServerConf::for_tests(&root), _dir: dir }
    }

    fn add(&self, generation: u32) -> TenantShardId {
        let shard = TenantShardId::unsharded(TenantId::generate());
        directory::create_tenant_dir(self.conf, &shard).unwrap();
        let mode = LocationMode::Attached {
            generation: Generation::Valid(generation),
            attach_mode: AttachMode::Single,
        };
        let (shard_identity, tenant_conf) =
            (ShardIdentity::unsharded(), TenantConfigOverrides::default());
        let location = LocationConf { mode, shard: shard_identity, tenant_conf };
        location::persist(&self.conf.tenant_location_path(&shard), &location).unwrap();
        shard
    }

    async fn settle(&self, plane: &ControlPlane) -> Settled {
        let found = directory::scan_tenants(self.conf).unwrap();
        plane.settle(self.conf, found).await.unwrap()
    }
}

/// A control plane that answers `re-attach` with this.
async fn plane(tenants: Value, emergency_mode: bool) -> ControlPlane {
    let answer = json!({ "tenants": tenants }).to_string();
    let route = axum::routing::post(move || async move { answer });
    let router = axum::Router::new().route("/re-attach", route);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = UpcallConfig { api: Some(api), ..UpcallConfig::default() };
    let client = UpcallClient::new(&config, NodeId(1), CancellationToken::new());
    ControlPlane::new(client, emergency_mode)
}

#[tokio::test]
async fn without_a_control_plane_the_stored_generation_counts() {
    let node = Node::new();
    let shard = node.add(3);
    let settled = node.settle(&ControlPlane::default()).await;
    assert_eq!(settled.generations()[&shard], Generation::Valid(3));
}

#[tokio::test]
async fn a_new_generation_is_on_disk_before_it_is_used() {
    let node = Node::new();
    let shard = node.add(3);
    let plane = plane(json!([{"id": shard, "gen": 4}]), false).await;
    assert_eq!(node.settle(&plane).await.generations()[&shard], Generation::Valid(4));
    // As after a crash, with nobody to ask.
    let settled = node.settle(&ControlPlane::default()).await;
    assert_eq!(settled.generations()[&shard], Generation::Valid(4));
}

#[tokio::test]
async fn a_tenant_that_went_elsewhere_leaves_the_disk() {
    let node = Node::new();
    let shard = node.add(3);
    let settled = node.settle(&plane(json!([]), false).await).await;
    assert!(settled.locations.is_empty());
    assert_eq!(settled.removed.len(), 1);
    assert!(!node.conf.tenant_path(&shard).exists());
}

#[tokio::test]
async fn in_an_emergency_nobody_is_asked() {
    let node = Node::new();
    let shard = node.add(3);
    let settled = node.settle(&plane(json!([]), true).await).await;
    assert_eq!(settled.generations()[&shard], Generation::Valid(3));
}
