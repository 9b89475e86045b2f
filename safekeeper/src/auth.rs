//! What a token permits on a safekeeper, and the token this one presents to others.

use utils::TenantId;
use utils::auth::{Claims, Scope};

/// A token of our own, never shown in logs.
#[derive(Clone)]
pub struct SecretToken(pub String);

impl std::fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretToken(hidden)")
    }
}

/// Why a valid token is not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PermissionError {
    /// A tenant token that does not name its tenant.
    #[error("the token has scope tenant but names no tenant")]
    NoTenant,
    /// A tenant token of another tenant.
    #[error("the token is for tenant {token}, not {requested}")]
    OtherTenant {
        /// In the token.
        token: TenantId,
        /// In the request.
        requested: TenantId,
    },
    /// A tenant token where the whole node is concerned.
    #[error("a token of scope tenant does not permit management of the node")]
    NodeWide,
    /// A token for something else.
    #[error("a token of scope {0:?} permits nothing on safekeepers")]
    Scope(Scope),
}

/// May the bearer use this tenant's timelines? No claims means that tokens are not checked.
pub fn check_tenant(claims: Option<&Claims>, tenant_id: TenantId) -> Result<(), PermissionError> {
    let Some(claims) = claims else { return Ok(()) };
    match (claims.scope, claims.tenant_id) {
        (Scope::SafekeeperData, _) => Ok(()),
        (Scope::Tenant, None) => Err(PermissionError::NoTenant),
        (Scope::Tenant, Some(token)) if token == tenant_id => Ok(()),
        (Scope::Tenant, Some(token)) => {
            Err(PermissionError::OtherTenant { token, requested: tenant_id })
        }
        (scope @ (Scope::PageServerApi | Scope::GenerationsApi | Scope::Admin), _) => {
            Err(PermissionError::Scope(scope))
        }
    }
}

/// May the bearer manage the node? No claims means that tokens are not checked.
pub fn check_node(claims: Option<&Claims>) -> Result<(), PermissionError> {
    match claims.map(|claims| claims.scope) {
        None | Some(Scope::SafekeeperData) => Ok(()),
        Some(Scope::Tenant) => Err(PermissionError::NodeWide),
        Some(scope) => Err(PermissionError::Scope(scope)),
    }
}

#[cfg(test)]
mod tests;
