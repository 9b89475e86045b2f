//! Which token may use which route.

use http_server::ApiError;
use tracing::warn;
use utils::TenantId;
use utils::auth::{Claims, Scope};

/// What a refused client is told; the reason goes to the log.
const REFUSAL: &str = "JWT authentication error";

/// Node-wide routes: management tokens only. No claims means that tokens are not checked.
pub fn node(claims: Option<&Claims>) -> Result<(), ApiError> {
    let Some(claims) = claims else { return Ok(()) };
    match claims.scope {
        Scope::PageServerApi => Ok(()),
        Scope::Tenant => {
            refuse("Attempt to access management api with tenant scope. Permission denied")
        }
        _ => refuse(&ineligible(claims)),
    }
}

/// Routes of one tenant: management tokens, and tokens of that tenant.
pub fn tenant(claims: Option<&Claims>, tenant: TenantId) -> Result<(), ApiError> {
    let Some(claims) = claims else { return Ok(()) };
    match (claims.scope, claims.tenant_id) {
        (Scope::PageServerApi, _) => Ok(()),
        (Scope::Tenant, Some(owner)) if owner == tenant => Ok(()),
        (Scope::Tenant, _) => refuse("Tenant id mismatch. Permission denied"),
        _ => refuse(&ineligible(claims)),
    }
}

fn ineligible(claims: &Claims) -> String {
    format!("JWT scope '{:?}' is ineligible for Pageserver auth", claims.scope)
}

fn refuse(reason: &str) -> Result<(), ApiError> {
    warn!("Authentication error: {reason}");
    Err(ApiError::Forbidden(REFUSAL.to_owned()))
}
