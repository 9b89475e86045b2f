//! Ed25519 keys in PEM files. Never logs key material.

use std::fs;
use std::path::Path;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{SigningKey, VerifyingKey};

use super::AuthError;

/// A fresh key pair in PEM form.
pub struct KeyPair {
    /// PKCS#8 text.
    pub private_pem: String,
    /// SubjectPublicKeyInfo text.
    pub public_pem: String,
}

/// Makes a key pair from the operating system's randomness.
pub fn generate_key_pair() -> Result<KeyPair, AuthError> {
    let key = SigningKey::from_bytes(&rand::random());
    let unencodable = |reason: String| AuthError::BadKey { path: "<generated>".into(), reason };
    // Without the public half: OpenSSL does not read the form that contains it.
    let private_only = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    Ok(KeyPair {
        private_pem: private_only
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| unencodable(error.to_string()))?
            .to_string(),
        public_pem: key
            .verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .map_err(|error| unencodable(error.to_string()))?,
    })
}

pub(super) fn load_private_key(path: &Path) -> Result<SigningKey, AuthError> {
    let pem = read(path)?;
    SigningKey::from_pkcs8_pem(&pem)
        .map_err(|error| AuthError::BadKey { path: path.to_owned(), reason: error.to_string() })
}

/// Loads one key from a file, or one from each regular file of a directory.
pub(super) fn load_public_keys(path: &Path) -> Result<Vec<VerifyingKey>, AuthError> {
    let io_error = |source| AuthError::ReadKey { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(io_error)?.is_dir() {
        return Ok(vec![parse_public_key(&read(path)?, path)?]);
    }
    let mut keys = Vec::new();
    for entry in fs::read_dir(path).map_err(io_error)? {
        let file = entry.map_err(io_error)?.path();
        // Follows symbolic links: mounted secrets are made of them.
        if file.is_file() {
            keys.push(parse_public_key(&read(&file)?, &file)?);
        }
    }
    if keys.is_empty() {
        return Err(AuthError::NoKeys(path.to_owned()));
    }
    Ok(keys)
}

pub(super) fn parse_public_key(pem: &str, path: &Path) -> Result<VerifyingKey, AuthError> {
    VerifyingKey::from_public_key_pem(pem.trim())
        .map_err(|error| AuthError::BadKey { path: path.to_owned(), reason: error.to_string() })
}

fn read(path: &Path) -> Result<String, AuthError> {
    fs::read_to_string(path).map_err(|source| AuthError::ReadKey { path: path.to_owned(), source })
}
