//! Tokens that this tool signs for itself and for the daemons.

use utils::TenantId;
use utils::auth::{AuthError, Claims, Scope, encode_from_key_file};

use crate::config::LocalEnv;

/// A token of a scope.
pub fn scoped(env: &LocalEnv, scope: Scope) -> Result<String, AuthError> {
    encode_from_key_file(&Claims::new(None, scope), env.private_key_path().as_std_path())
}

/// A token of one tenant, for its computes.
pub fn tenant(env: &LocalEnv, tenant_id: TenantId) -> Result<String, AuthError> {
    let claims = Claims::new(Some(tenant_id), Scope::Tenant);
    encode_from_key_file(&claims, env.private_key_path().as_std_path())
}
