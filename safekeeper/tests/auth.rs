//! Tokens on the WAL service and on HTTP.

mod common;

use common::{TestSafekeeper, new_ttid};
use reqwest::StatusCode;
use safekeeper::http::routes::{self, Access, Route};
use safekeeper::service::AuthKeys;
use safekeeper_api::client::{Client, ClientError};
use utils::auth::{Claims, JwtAuth, Scope, SharedJwtAuth, encode_from_key_file, generate_key_pair};
use utils::{TenantId, TenantTimelineId};

struct Issuer {
    dir: tempfile::TempDir,
    keys: SharedJwtAuth,
}

impl Issuer {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pair = generate_key_pair().unwrap();
        std::fs::write(dir.path().join("private.pem"), &pair.private_pem).unwrap();
        let keys = SharedJwtAuth::new(JwtAuth::from_public_key_pem(&pair.public_pem).unwrap());
        Self { dir, keys }
    }

    fn token(&self, tenant_id: Option<TenantId>, scope: Scope) -> String {
        let claims = Claims::new(tenant_id, scope);
        encode_from_key_file(&claims, &self.dir.path().join("private.pem")).unwrap()
    }

    fn safekeeper(&self) -> TestSafekeeper {
        let keys = Some(self.keys.clone());
        TestSafekeeper::start_with_keys(AuthKeys {
            pg: keys.clone(),
            pg_tenant_only: None,
            http: keys,
            own_token: None,
        })
    }
}

/// What `TIMELINE_STATUS` answers to this token; the error's text if it is refused.
async fn ask(
    safekeeper: &TestSafekeeper,
    ttid: TenantTimelineId,
    token: &str,
) -> Result<(), String> {
    let mut options = safekeeper.connect_options(ttid, "test");
    options.password = Some(token.to_owned());
    let mut client = options.connect().await.map_err(|error| error.to_string())?;
    client.simple_query("TIMELINE_STATUS").await.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wal_service_wants_a_token_for_the_tenant() {
    let issuer = Issuer::new();
    let safekeeper = issuer.safekeeper();
    let ttid = new_ttid();
    let own = issuer.token(Some(ttid.tenant_id), Scope::Tenant);
    assert_eq!(ask(&safekeeper, ttid, &own).await, Ok(()));
    let node = issuer.token(None, Scope::SafekeeperData);
    assert_eq!(ask(&safekeeper, ttid, &node).await, Ok(()));
    for refused in [
        issuer.token(Some(TenantId::generate()), Scope::Tenant),
        issuer.token(None, Scope::Tenant),
        issuer.token(None, Scope::PageServerApi),
        Issuer::new().token(None, Scope::SafekeeperData),
        "nonsense".to_owned(),
    ] {
        let error = ask(&safekeeper, ttid, &refused).await.unwrap_err();
        assert!(error.contains("JWT authentication error"), "{error}");
    }
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_wants_a_token_except_for_the_status() {
    let issuer = Issuer::new();
    let safekeeper = issuer.safekeeper();
    let ttid = new_ttid();
    let url = format!("http://{}", safekeeper.http);
    let status = async |token: Option<String>| {
        let client = Client::new(reqwest::Client::new(), &url, token);
        client.status().await.expect("the status is public");
        match client.timeline_status(ttid.tenant_id, ttid.timeline_id).await {
            Err(ClientError::Refused { status, .. }) => status.as_u16(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    };
    assert_eq!(status(None).await, 401);
    assert_eq!(status(Some("nonsense".to_owned())).await, 403);
    assert_eq!(status(Some(issuer.token(Some(TenantId::generate()), Scope::Tenant))).await, 403);
    assert_eq!(status(Some(issuer.token(Some(ttid.tenant_id), Scope::Tenant))).await, 404);
    assert_eq!(status(Some(issuer.token(None, Scope::SafekeeperData))).await, 404);
    let own = issuer.token(Some(ttid.tenant_id), Scope::Tenant);
    let tenant_client = Client::new(reqwest::Client::new(), &url, Some(own));
    let refused = tenant_client.checkpoint(ttid.tenant_id, ttid.timeline_id).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    safekeeper.stop().await;
}

/// What the route answers when it is about `ttid` and the bearer has `token`.
async fn status_of(
    safekeeper: &TestSafekeeper,
    route: &Route,
    ttid: TenantTimelineId,
    token: Option<&str>,
) -> StatusCode {
    let path = route
        .path
        .replace("{tenant_id}", &ttid.tenant_id.to_string())
        .replace("{timeline_id}", &ttid.timeline_id.to_string());
    let body = serde_json::json!({
        "tenant_id": ttid.tenant_id, "timeline_id": ttid.timeline_id,
        "pg_version": 150000, "commit_lsn": "0/0",
    });
    let method = route.method.parse().unwrap();
    let url = format!("http://{}{path}", safekeeper.http);
    let mut request = reqwest::Client::new().request(method, url);
    if route.method != "GET" && route.method != "DELETE" {
        request = request.json(&body);
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap().status()
}

fn guarded_routes() -> Vec<Route> {
    let (_, table) = routes::all();
    let guarded: Vec<_> = table.into_iter().filter(|route| route.access != Access::Open).collect();
    assert!(guarded.len() > 10, "{guarded:?}");
    guarded
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_but_the_open_ones_wants_a_token_that_permits_it() {
    let issuer = Issuer::new();
    let safekeeper = issuer.safekeeper();
    let ttid = new_ttid();
    let useless = [
        issuer.token(None, Scope::Admin),
        issuer.token(None, Scope::PageServerApi),
        issuer.token(None, Scope::GenerationsApi),
        issuer.token(None, Scope::Tenant),
        issuer.token(Some(TenantId::generate()), Scope::Tenant),
        Issuer::new().token(None, Scope::SafekeeperData),
    ];
    for route in guarded_routes() {
        let status = status_of(&safekeeper, &route, ttid, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{route:?}");
        for token in &useless {
            let status = status_of(&safekeeper, &route, ttid, Some(token)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{route:?}");
        }
    }
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_token_opens_the_routes_of_its_tenant_and_a_management_token_all() {
    let issuer = Issuer::new();
    let safekeeper = issuer.safekeeper();
    let ttid = new_ttid();
    let own = issuer.token(Some(ttid.tenant_id), Scope::Tenant);
    let node = issuer.token(None, Scope::SafekeeperData);
    for route in guarded_routes() {
        let status = status_of(&safekeeper, &route, ttid, Some(&own)).await;
        assert_ne!(status, StatusCode::UNAUTHORIZED, "{route:?}");
        let is_refused = status == StatusCode::FORBIDDEN;
        assert_eq!(is_refused, route.access == Access::Node, "{route:?}: {status}");
        let status = status_of(&safekeeper, &route, ttid, Some(&node)).await;
        let is_refused = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status);
        assert!(!is_refused, "{route:?}: {status}");
    }
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failpoints_are_for_holders_of_a_management_token() {
    let issuer = Issuer::new();
    let safekeeper = issuer.safekeeper();
    let put = async |token: Option<String>| {
        let url = format!("http://{}/v1/failpoints", safekeeper.http);
        let request = reqwest::Client::new().put(url).json(&serde_json::json!([]));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap().status()
    };
    assert_eq!(put(None).await, StatusCode::UNAUTHORIZED);
    let tenant = issuer.token(Some(TenantId::generate()), Scope::Tenant);
    assert_eq!(put(Some(tenant)).await, StatusCode::FORBIDDEN);
    let permitted = put(Some(issuer.token(None, Scope::SafekeeperData))).await;
    assert!(![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&permitted));
    safekeeper.stop().await;
}
