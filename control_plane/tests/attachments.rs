//! Attaching tenants to a pageserver that only remembers what it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use camino::{Utf8Path, Utf8PathBuf};
use control_plane::attachments::{self, AttachmentError};
use control_plane::config::{InitConf, LocalEnv};
use control_plane::init::{Force, init};
use http::StatusCode;
use pageserver_api::models::TenantConfigOverrides;
use serde_json::{Value, json};
use utils::{NodeId, TenantId};

/// The locations that a pageserver was told, by shard; shared with its server.
#[derive(Clone, Default)]
struct FakePageserver {
    locations: Arc<Mutex<BTreeMap<String, Value>>>,
    refuses: Arc<Mutex<bool>>,
    /// How many calls are answered with "not now".
    busy_calls: Arc<Mutex<u32>>,
}

impl FakePageserver {
    fn location(&self, tenant_id: TenantId) -> Option<Value> {
        self.locations.lock().unwrap().get(&tenant_id.to_string()).cloned()
    }

    fn forget_everything(&self) {
        self.locations.lock().unwrap().clear();
    }

    fn refuse(&self, refuses: bool) {
        *self.refuses.lock().unwrap() = refuses;
    }

    /// Serves on a free port; returns its address.
    async fn serve(&self) -> String {
        let routes = Router::new()
            .route("/v1/tenant/{shard}/location_config", put(put_location))
            .route("/v1/location_config/{shard}", get(get_location))
            .route("/v1/tenant/config", put(put_config))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }
}

type Answer = (StatusCode, Json<Value>);

async fn put_location(
    State(fake): State<FakePageserver>,
    Path(shard): Path<String>,
    Json(location): Json<Value>,
) -> Answer {
    let mut busy_calls = fake.busy_calls.lock().unwrap();
    if *busy_calls > 0 {
        *busy_calls -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"msg": "still initializing"})));
    }
    if *fake.refuses.lock().unwrap() {
        return (StatusCode::CONFLICT, Json(json!({"msg": "Conflict: busy"})));
    }
    fake.locations.lock().unwrap().insert(shard, location);
    (StatusCode::OK, Json(json!({"shards": [], "stripe_size": null})))
}

async fn get_location(State(fake): State<FakePageserver>, Path(shard): Path<String>) -> Answer {
    match fake.locations.lock().unwrap().get(&shard) {
        Some(location) => (StatusCode::OK, Json(location.clone())),
        None => (StatusCode::NOT_FOUND, Json(json!({"msg": "NotFound: Tenant shard not found"}))),
    }
}

async fn put_config(State(_): State<FakePageserver>, Json(_): Json<Value>) -> Answer {
    (StatusCode::OK, Json(Value::Null))
}

struct Fixture {
    _dir: tempfile::TempDir,
    env: LocalEnv,
    fake: FakePageserver,
}

/// A repo with pageservers 1 and 2, of which the first runs.
async fn fixture() -> Fixture {
    let fake = FakePageserver::default();
    let address = fake.serve().await;
    let mut conf = InitConf::with_defaults(2);
    conf.pageservers[0].insert("listen_http_addr".to_owned(), address.into());
    let dir = tempfile::tempdir().unwrap();
    let repo = Utf8PathBuf::from_path_buf(dir.path().join("repo")).unwrap();
    init(&repo, conf, Force::MustNotExist).unwrap();
    Fixture { _dir: dir, env: load(&repo), fake }
}

fn load(repo: &Utf8Path) -> LocalEnv {
    LocalEnv::load(repo).unwrap()
}

fn options() -> TenantConfigOverrides {
    TenantConfigOverrides { gc_horizon: Some(77), ..TenantConfigOverrides::default() }
}

#[tokio::test]
async fn a_new_tenant_is_attached_in_its_first_generation() {
    let Fixture { env, fake, _dir } = fixture().await;
    let tenant = TenantId::generate();
    let conf = attachments::create_tenant(&env, tenant, &options()).await.unwrap();
    assert_eq!(conf.id, NodeId(1));
    let location = fake.location(tenant).unwrap();
    assert_eq!(location["mode"], "AttachedSingle");
    assert_eq!(location["generation"], 1);
    assert_eq!(location["tenant_conf"]["gc_horizon"], 77);
    assert_eq!(attachments::pageserver_of(&env, tenant).unwrap().id, NodeId(1));
}

#[tokio::test]
async fn a_pageserver_that_kept_its_tenants_is_left_alone() {
    let Fixture { env, fake, _dir } = fixture().await;
    let tenant = TenantId::generate();
    attachments::create_tenant(&env, tenant, &options()).await.unwrap();
    assert_eq!(attachments::reattach(&env, &env.pageservers[0]).await.unwrap(), 0);
    assert_eq!(fake.location(tenant).unwrap()["generation"], 1);
}

#[tokio::test]
async fn a_pageserver_that_lost_its_tenants_gets_them_in_new_generations() {
    let Fixture { env, fake, _dir } = fixture().await;
    let tenant = TenantId::generate();
    attachments::create_tenant(&env, tenant, &options()).await.unwrap();
    for expected in [2, 3] {
        fake.forget_everything();
        assert_eq!(attachments::reattach(&env, &env.pageservers[0]).await.unwrap(), 1);
        assert_eq!(fake.location(tenant).unwrap()["generation"], expected);
    }
    assert_eq!(fake.location(tenant).unwrap()["tenant_conf"]["gc_horizon"], 77);
}

#[tokio::test]
async fn a_generation_is_spent_even_when_the_attach_fails() {
    let Fixture { env, fake, _dir } = fixture().await;
    let tenant = TenantId::generate();
    attachments::create_tenant(&env, tenant, &options()).await.unwrap();
    fake.forget_everything();
    fake.refuse(true);
    attachments::reattach(&env, &env.pageservers[0]).await.unwrap_err();
    fake.refuse(false);
    attachments::reattach(&env, &env.pageservers[0]).await.unwrap();
    assert_eq!(fake.location(tenant).unwrap()["generation"], 3);
}

#[tokio::test]
async fn a_busy_pageserver_is_asked_again() {
    let Fixture { env, fake, _dir } = fixture().await;
    *fake.busy_calls.lock().unwrap() = 2;
    let tenant = TenantId::generate();
    attachments::create_tenant(&env, tenant, &options()).await.unwrap();
    assert_eq!(fake.location(tenant).unwrap()["generation"], 1);
}

#[tokio::test]
async fn a_tenant_that_could_not_be_attached_can_be_created_again() {
    let Fixture { env, fake, _dir } = fixture().await;
    let tenant = TenantId::generate();
    fake.refuse(true);
    let error = attachments::create_tenant(&env, tenant, &options()).await.unwrap_err();
    assert!(error.to_string().contains("Conflict: busy"), "{error}");
    fake.refuse(false);
    attachments::create_tenant(&env, tenant, &options()).await.unwrap();
    let again = attachments::create_tenant(&env, tenant, &options()).await.unwrap_err();
    assert!(matches!(again, AttachmentError::Exists(_)), "{again}");
}

#[tokio::test]
async fn changed_options_are_kept_for_the_next_attach() {
    let Fixture { env, fake, _dir } = fixture().await;
    let tenant = TenantId::generate();
    attachments::create_tenant(&env, tenant, &options()).await.unwrap();
    let changed = TenantConfigOverrides { gc_horizon: Some(88), ..options() };
    attachments::configure_tenant(&env, tenant, &changed).await.unwrap();
    fake.forget_everything();
    attachments::reattach(&env, &env.pageservers[0]).await.unwrap();
    assert_eq!(fake.location(tenant).unwrap()["tenant_conf"]["gc_horizon"], 88);
}

#[tokio::test]
async fn a_pageserver_that_is_down_is_named_with_how_to_start_it() {
    let Fixture { mut env, _dir, .. } = fixture().await;
    // Nobody listens on the discard port.
    env.pageservers[0].listen_http_addr = "127.0.0.1:9".to_owned();
    let tenant = TenantId::generate();
    let error = attachments::create_tenant(&env, tenant, &options()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("neon_local pageserver start --id 1"), "{text}");
    assert!(text.contains("pageserver_1/pageserver.log"), "{text}");
}
