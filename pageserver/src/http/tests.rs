use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use pageserver_api::shard::TenantShardId;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use utils::{TenantId, TimelineId};

mod access;
mod bodies;

use super::*;
use crate::remote::testing::TestStore;
use crate::tenant::{ReceiverResources, TenantResources};

/// A server without sockets.
struct Server {
    store: TestStore,
    router: Router,
    tenant: TenantId,
}

impl Server {
    async fn start() -> Server {
        Server::with_auth(None).await
    }

    async fn with_auth(auth: Option<SharedJwtAuth>) -> Server {
        let store = TestStore::new();
        let conf = PageServerConf::for_tests(&store.local_dir());
        let remote = store.resources();
        let deletion_queue = remote.deletion_queue.clone();
        let resources = TenantResources {
            receiver: ReceiverResources {
                broker: storage_broker::client::connect(
                    "http://127.0.0.1:1",
                    Duration::from_secs(5),
                    None,
                )
                .unwrap(),
                auth_token: None,
                runtime: remote.runtime.clone(),
            },
            remote,
            warmup: Arc::new(Semaphore::new(1)),
            initdb: Arc::new(Semaphore::new(1)),
            background: crate::tasks::BackgroundLimit::new(1),
            background_can_start: CancellationToken::new(),
            io: crate::storage_io::StorageIo::new(10, 100),
        };
        let tenants = TenantManager::new(conf, resources, store.cancel.child_token());
        tenants.start(&crate::tenant::StartupProgress::default()).await.unwrap();
        let launch_timestamp = "now".to_owned();
        let cancel = store.cancel.child_token();
        let disk_evictor =
            crate::disk_eviction::DiskEvictor::new(conf, Arc::clone(&tenants), cancel);
        let state = State { conf, tenants, deletion_queue, disk_evictor, auth, launch_timestamp };
        Server { store, router: router(state), tenant: TenantId::generate() }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let path = path.replace(":tenant", &self.tenant.to_string());
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let request = Request::builder().method(method).uri(path).body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call("GET", path, None).await
    }

    async fn put_location(&self, generation: Value) -> (StatusCode, Value) {
        let body = json!({"mode": "AttachedSingle", "generation": generation, "tenant_conf": {}});
        self.call("PUT", "/v1/tenant/:tenant/location_config", Some(body)).await
    }
}

fn message(body: &Value) -> &str {
    body["msg"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn the_status_is_the_node_id() {
    let server = Server::start().await;
    assert_eq!(server.get("/v1/status").await, (StatusCode::OK, json!({"id": 1})));
}

#[tokio::test]
async fn an_unknown_tenant_is_not_found_by_its_bare_id() {
    let server = Server::start().await;
    for path in ["/v1/tenant/:tenant", "/v1/tenant/:tenant/timeline", "/v1/tenant/:tenant/config"] {
        let (status, body) = server.get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(message(&body), format!("NotFound: tenant {}", server.tenant));
    }
}

#[tokio::test]
async fn deleting_a_timeline_of_an_absent_tenant_is_not_success() {
    let server = Server::start().await;
    let path = format!("/v1/tenant/:tenant/timeline/{}", TimelineId::generate());
    let (status, body) = server.call("DELETE", &path, None).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert!(message(&body).contains("Requested tenant is missing"));
}

#[tokio::test]
async fn attaching_creates_a_tenant() {
    let server = Server::start().await;
    let (status, body) = server.put_location(json!(1)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let shard = json!([{"shard_id": server.tenant.to_string(), "node_id": 1}]);
    assert_eq!(body, json!({"shards": shard, "stripe_size": null}));
    let (status, body) = server.get("/v1/tenant/:tenant/timeline").await;
    assert_eq!((status, body), (StatusCode::OK, json!([])));
    let (_, body) = server.get("/v1/tenant/:tenant").await;
    assert_eq!(body["state"], json!({"slug": "Active"}));
    assert_eq!(body["generation"], 1);
}

#[tokio::test]
async fn attaching_needs_a_generation_that_does_not_go_back() {
    let server = Server::start().await;
    let (status, body) = server.put_location(Value::Null).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(message(&body).contains("Generation must be set when attaching"));
    assert_eq!(server.put_location(json!(3)).await.0, StatusCode::OK);
    let (status, body) = server.put_location(json!(2)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(message(&body).contains("Generation 00000002 is less than existing 00000003"));
}

#[tokio::test]
async fn malformed_locations_are_refused_by_field() {
    let server = Server::start().await;
    let cases = [
        (json!({"mode": "Detached"}), "missing field `tenant_conf`"),
        (json!({"mode": "Detached", "tenant_conf": null}), "invalid type: null"),
        (json!({"mode": "Detached", "tenant_conf": {}, "x": 1}), "unknown field `x`"),
        (json!({"mode": "Detached", "tenant_conf": {"gc_period": "5a"}}), "tenant_conf.gc_period"),
    ];
    for (body, expected) in cases {
        let path = "/v1/tenant/:tenant/location_config";
        let (status, answer) = server.call("PUT", path, Some(body.clone())).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(message(&answer).contains(expected), "{body}: {answer}");
    }
}

#[tokio::test]
async fn the_path_and_the_body_must_name_the_same_shard() {
    let server = Server::start().await;
    let body = json!({
        "mode": "AttachedSingle", "generation": 1, "tenant_conf": {},
        "shard_number": 1, "shard_count": 2, "shard_stripe_size": 8,
    });
    let path = "/v1/tenant/:tenant/location_config";
    let (status, _) = server.call("PUT", path, Some(body)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn detaching_twice_is_fine() {
    let server = Server::start().await;
    server.put_location(json!(1)).await;
    let body = json!({"mode": "Detached", "tenant_conf": {}});
    for _ in 0..2 {
        let path = "/v1/tenant/:tenant/location_config";
        let answer = server.call("PUT", path, Some(body.clone())).await;
        assert_eq!(answer, (StatusCode::OK, Value::Null));
    }
    assert_eq!(server.get("/v1/location_config").await.1, json!({"tenant_shards": []}));
}

#[tokio::test]
async fn a_location_is_shown_with_every_option() {
    let server = Server::start().await;
    server.put_location(json!(1)).await;
    let (status, body) = server.get("/v1/location_config/:tenant").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["mode"], "AttachedSingle");
    assert_eq!(body["tenant_conf"]["gc_period"], Value::Null);
    let (status, body) = server.get(&format!("/v1/location_config/{}", TenantId::generate())).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(message(&body), "NotFound: Tenant shard not found");
}

#[tokio::test]
async fn options_are_replaced_and_survive_in_the_location() {
    let server = Server::start().await;
    server.put_location(json!(1)).await;
    let body = json!({"tenant_id": server.tenant, "gc_period": "20s"});
    let (status, answer) = server.call("PUT", "/v1/tenant/config", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (_, body) = server.get("/v1/tenant/:tenant/config").await;
    assert_eq!(body["tenant_specific_overrides"], json!({"gc_period": "20s"}));
    assert_eq!(body["effective_config"]["gc_period"], "20s");
    assert_eq!(body["effective_config"]["pitr_interval"], "7days");
    let (_, body) = server.get("/v1/location_config/:tenant").await;
    assert_eq!(body["tenant_conf"]["gc_period"], "20s");
}

#[tokio::test]
async fn unknown_and_ill_typed_options_are_named() {
    let server = Server::start().await;
    server.put_location(json!(1)).await;
    let cases = [
        (json!({"tenant_id": server.tenant, "gc_perod": "20s"}), "unknown field `gc_perod`"),
        (
            json!({"tenant_id": server.tenant, "lagging_wal_timeout": "5a"}),
            "lagging_wal_timeout: invalid value: string \\\"5a\\\", expected a duration",
        ),
    ];
    for (body, expected) in cases {
        let (status, answer) = server.call("PUT", "/v1/tenant/config", Some(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(message(&answer).contains(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_branch_without_ancestor_is_an_error_and_not_a_crash() {
    let server = Server::start().await;
    server.put_location(json!(1)).await;
    let body = json!({
        "new_timeline_id": TimelineId::generate(), "ancestor_timeline_id": TimelineId::generate(),
    });
    let (status, answer) = server.call("POST", "/v1/tenant/:tenant/timeline", Some(body)).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(message(&answer).contains("not present in pageserver"), "{answer}");
}

#[tokio::test]
async fn an_unsupported_version_is_refused() {
    let server = Server::start().await;
    server.put_location(json!(1)).await;
    let body = json!({"new_timeline_id": TimelineId::generate(), "pg_version": 9});
    let (status, _) = server.call("POST", "/v1/tenant/:tenant/timeline", Some(body)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn deleting_a_tenant_succeeds_whether_it_is_here_or_not() {
    let server = Server::start().await;
    server.put_location(json!(1)).await;
    let shard = TenantShardId::unsharded(server.tenant);
    server.store.put(&format!("tenants/{shard}/timelines/x/y"), "z").await;
    for _ in 0..2 {
        let answer = server.call("DELETE", "/v1/tenant/:tenant", None).await;
        assert_eq!(answer, (StatusCode::OK, Value::Null));
    }
    assert!(server.store.keys().await.is_empty());
}

#[tokio::test]
async fn utilization_measures_the_disk() {
    let server = Server::start().await;
    server.put_location(json!(1)).await;
    let (status, body) = server.get("/v1/utilization").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body["free_space_bytes"].as_u64().unwrap() > 0);
}
