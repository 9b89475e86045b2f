//! Tokens on the WAL service and on HTTP.

mod common;

use common::{TestSafekeeper, new_ttid};
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
