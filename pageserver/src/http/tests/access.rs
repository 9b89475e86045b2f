//! The table of routes against the contract, and who may use which route.

use utils::auth::{Claims, JwtAuth, Scope, encode_from_key_file, generate_key_pair};

use super::super::routes::{self, Access, Documented};
use super::*;

/// Every route that this version answers, as the contract names it.
const CONTRACT: &[(&str, &str)] = &[
    ("get", "/v1/status"),
    ("post", "/v1/reload_auth_validation_keys"),
    ("get", "/v1/tenant"),
    ("get", "/v1/tenant/{tenant_shard_id}"),
    ("delete", "/v1/tenant/{tenant_shard_id}"),
    ("put", "/v1/tenant/config"),
    ("get", "/v1/tenant/{tenant_shard_id}/config"),
    ("put", "/v1/tenant/{tenant_shard_id}/location_config"),
    ("get", "/v1/location_config"),
    ("get", "/v1/location_config/{tenant_shard_id}"),
    ("post", "/v1/tenant/{tenant_shard_id}/reset"),
    ("put", "/v1/tenant/{tenant_shard_id}/time_travel_remote_storage"),
    ("post", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/preserve_initdb_archive"),
    ("put", "/v1/tenant/{tenant_shard_id}/break"),
    ("get", "/v1/tenant/{tenant_shard_id}/scan_remote_storage"),
    ("get", "/v1/tenant/{tenant_shard_id}/timeline"),
    ("post", "/v1/tenant/{tenant_shard_id}/timeline"),
    ("get", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}"),
    ("delete", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}"),
    ("get", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/get_lsn_by_timestamp"),
    ("get", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/get_timestamp_of_lsn"),
    ("post", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/lsn_lease"),
    ("put", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/compact"),
    ("put", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/checkpoint"),
    ("get", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/download_remote_layers"),
    ("post", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/download_remote_layers"),
    ("get", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/layer"),
    ("get", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/layer/{layer_file_name}"),
    ("delete", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/layer/{layer_file_name}"),
    ("get", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/getpage"),
    ("get", "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}/keyspace"),
    ("post", "/v1/tenant/{tenant_shard_id}/heatmap_upload"),
    ("get", "/v1/tenant/{tenant_shard_id}/secondary/status"),
    ("post", "/v1/tenant/{tenant_shard_id}/secondary/download"),
    ("put", "/v1/disk_usage_eviction/run"),
    ("put", "/v1/deletion_queue/flush"),
    ("get", "/v1/panic"),
    ("post", "/v1/tracing/event"),
    ("put", "/v1/io_engine"),
    ("get", "/v1/utilization"),
    ("post", "/v1/top_tenants"),
];

#[test]
fn every_route_of_the_contract_is_in_the_table() {
    let documented = routes::all().documented;
    for (method, path) in CONTRACT {
        let found = documented.iter().any(|route| route.method == *method && route.path == *path);
        assert!(found, "{method} {path}");
    }
}

#[tokio::test]
async fn the_openapi_document_has_every_route() {
    let server = Server::start().await;
    let request = Request::builder().uri("/swagger.yml").body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let document = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(document.starts_with("openapi: \"3."));
    for Documented { path, .. } in routes::all().documented {
        assert!(document.contains(&format!("\n  {path}:\n")), "{path}");
    }
}

/// A server that checks tokens, and what signs them.
struct Guarded {
    server: Server,
    keys: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Guarded {
        let keys = tempfile::tempdir().unwrap();
        let pair = generate_key_pair().unwrap();
        std::fs::write(keys.path().join("private.pem"), &pair.private_pem).unwrap();
        let auth = JwtAuth::from_public_key_pem(&pair.public_pem).unwrap();
        let server = Server::with_auth(Some(SharedJwtAuth::new(auth))).await;
        Guarded { server, keys }
    }

    fn token(&self, tenant: Option<TenantId>, scope: Scope) -> String {
        let key = self.keys.path().join("private.pem");
        encode_from_key_file(&Claims::new(tenant, scope), &key).unwrap()
    }

    async fn status(&self, route: &Documented, token: Option<&str>) -> StatusCode {
        let path = route
            .path
            .replace("{tenant_shard_id}", &self.server.tenant.to_string())
            .replace("{timeline_id}", &TimelineId::generate().to_string())
            .replace("{layer_file_name}", "x");
        // Only `tenant/config` takes the tenant from the body.
        let body = json!({ "tenant_id": self.server.tenant }).to_string();
        let mut request = Request::builder().method(route.method.to_uppercase().as_str()).uri(path);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body)).unwrap();
        self.server.router.clone().oneshot(request).await.unwrap().status()
    }
}

/// The routes that a test can call without ending the server.
fn guarded_routes() -> Vec<Documented> {
    let documented = routes::all().documented;
    documented.into_iter().filter(|route| route.access != Access::Open).collect()
}

#[tokio::test]
async fn every_route_but_the_open_ones_wants_a_token() {
    let guarded = Guarded::start().await;
    for route in guarded_routes() {
        let status = guarded.status(&route, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{route:?}");
    }
}

#[tokio::test]
async fn tokens_of_other_scopes_open_nothing() {
    let guarded = Guarded::start().await;
    for scope in [Scope::Admin, Scope::SafekeeperData, Scope::GenerationsApi] {
        let token = guarded.token(None, scope);
        for route in guarded_routes() {
            let status = guarded.status(&route, Some(&token)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{scope:?} {route:?}");
        }
    }
}

#[tokio::test]
async fn a_tenant_token_opens_the_routes_of_its_tenant_and_no_others() {
    let guarded = Guarded::start().await;
    let own = guarded.token(Some(guarded.server.tenant), Scope::Tenant);
    let foreign = guarded.token(Some(TenantId::generate()), Scope::Tenant);
    let nobody = guarded.token(None, Scope::Tenant);
    for route in guarded_routes() {
        for token in [&foreign, &nobody] {
            let status = guarded.status(&route, Some(token)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{route:?}");
        }
        let refused = guarded.status(&route, Some(&own)).await == StatusCode::FORBIDDEN;
        assert_eq!(refused, route.access == Access::Node, "{route:?}");
    }
}

#[tokio::test]
async fn a_management_token_opens_every_route() {
    let guarded = Guarded::start().await;
    let token = guarded.token(None, Scope::PageServerApi);
    for route in guarded_routes() {
        let status = guarded.status(&route, Some(&token)).await;
        assert!(
            status != StatusCode::FORBIDDEN && status != StatusCode::UNAUTHORIZED,
            "{route:?}: {status}"
        );
    }
}

#[test]
fn not_now_says_when_to_ask_again() {
    use axum::response::IntoResponse;
    let busy = http_server::ApiError::ResourceUnavailable("busy".into());
    assert_eq!(busy.into_response().headers()["retry-after"], "1");
}
