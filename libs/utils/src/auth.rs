//! JSON web tokens: who may do what.
//!
//! Only EdDSA over Ed25519 is accepted. Keys are PEM files (PKCS#8 private, SPKI public).
//! What a scope allows is decided by the service that receives the token.

mod jwt;
mod keys;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

pub use self::keys::{KeyPair, generate_key_pair};
use crate::TenantId;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One tenant's data: computes.
    Tenant,
    /// Everything on pageservers.
    PageServerApi,
    /// Everything on safekeepers.
    SafekeeperData,
    /// The control plane's generation upcalls.
    #[serde(rename = "generations_api")]
    GenerationsApi,
    /// The control plane's own administration.
    Admin,
}

/// The signed statement of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The tenant of a [`Scope::Tenant`] token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// What the token is good for.
    pub scope: Scope,
}

impl Claims {
    /// Claims of a scope, limited to a tenant if one is given.
    pub fn new(tenant_id: Option<TenantId>, scope: Scope) -> Self {
        Claims { tenant_id, scope }
    }
}

/// A token was refused, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A key file or directory could not be read.
    #[error("could not read key file {path:?}: {source}")]
    ReadKey {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A file is not an Ed25519 key in PEM form.
    #[error("{path:?} is not an Ed25519 key in PEM form: {reason}")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key directory has no files.
    #[error("no keys found in {0:?}: put at least one public key file there")]
    NoKeys(PathBuf),
    /// The token is not three dot-separated parts of the expected content.
    #[error("malformed token: {0}")]
    Malformed(String),
    /// The token is signed in a way we do not accept.
    #[error("token algorithm {0:?} is not accepted, only EdDSA is")]
    Algorithm(String),
    /// No key verifies the token.
    #[error("invalid signature")]
    Signature,
    /// The token has expired.
    #[error("token has expired")]
    Expired,
}

/// Verifies tokens against a set of public keys.
#[derive(Clone)]
pub struct JwtAuth {
    keys: Vec<ed25519_dalek::VerifyingKey>,
}

impl JwtAuth {
    /// Loads the public key in a file, or the keys in all files of a directory.
    pub fn from_key_path(path: &Path) -> Result<JwtAuth, AuthError> {
        keys::load_public_keys(path).map(|keys| JwtAuth { keys })
    }

    /// Takes a public key from PEM text.
    pub fn from_public_key_pem(pem: &str) -> Result<JwtAuth, AuthError> {
        keys::parse_public_key(pem, Path::new("<text>")).map(|key| JwtAuth { keys: vec![key] })
    }

    /// Checks signature and expiry, and returns what the token claims.
    pub fn decode(&self, token: &str) -> Result<Claims, AuthError> {
        jwt::decode(token, &self.keys)
    }
}

impl fmt::Debug for JwtAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuth").field("keys", &self.keys.len()).finish()
    }
}

/// A [`JwtAuth`] whose keys can be replaced while the service runs. Clones share the keys.
#[derive(Debug, Clone)]
pub struct SharedJwtAuth {
    current: Arc<RwLock<JwtAuth>>,
}

impl SharedJwtAuth {
    /// Starts with the keys of `auth`.
    pub fn new(auth: JwtAuth) -> Self {
        SharedJwtAuth { current: Arc::new(RwLock::new(auth)) }
    }

    /// Replaces all keys at once.
    pub fn replace(&self, auth: JwtAuth) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = auth;
    }

    /// As [`JwtAuth::decode`], with the present keys.
    pub fn decode(&self, token: &str) -> Result<Claims, AuthError> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).decode(token)
    }
}

/// Signs claims with the private key in a PEM file.
pub fn encode_from_key_file(claims: &Claims, path: &Path) -> Result<String, AuthError> {
    let key = keys::load_private_key(path)?;
    jwt::encode(claims, &key)
}

#[cfg(test)]
mod tests;
