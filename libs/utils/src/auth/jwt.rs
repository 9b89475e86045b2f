//! The compact JWT form: `header.claims.signature`, each base64url without padding.
//!
//! Parses foreign text: refuses, never panics.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::Deserialize;

use super::{AuthError, Claims};

/// Clocks of issuer and receiver may differ by this much.
const EXPIRY_LEEWAY_SECONDS: f64 = 60.0;

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// The standard claims we look at besides our own.
#[derive(Deserialize)]
struct Expiry {
    exp: Option<f64>,
}

pub(super) fn encode(claims: &Claims, key: &SigningKey) -> Result<String, AuthError> {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"EdDSA"}"#);
    let claims = serde_json::to_vec(claims).map_err(|e| AuthError::Malformed(e.to_string()))?;
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = key.sign(signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes())))
}

pub(super) fn decode(token: &str, keys: &[VerifyingKey]) -> Result<Claims, AuthError> {
    let malformed = |what: &str| AuthError::Malformed(what.to_owned());
    let (signed, signature) =
        token.rsplit_once('.').ok_or_else(|| malformed("no signature part"))?;
    let (header, claims) = signed.split_once('.').ok_or_else(|| malformed("no claims part"))?;

    let header: Header = decode_part("header", header)?;
    if header.alg != "EdDSA" {
        return Err(AuthError::Algorithm(header.alg));
    }
    let signature =
        URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed("signature is not base64url"))?;
    let signature =
        Signature::from_slice(&signature).map_err(|_| malformed("signature is not 64 bytes"))?;
    if !keys.iter().any(|key| key.verify_strict(signed.as_bytes(), &signature).is_ok()) {
        return Err(AuthError::Signature);
    }

    let expiry: Expiry = decode_part("claims", claims)?;
    if expiry.exp.is_some_and(|exp| exp + EXPIRY_LEEWAY_SECONDS < unix_seconds()) {
        return Err(AuthError::Expired);
    }
    decode_part("claims", claims)
}

fn decode_part<T: for<'de> Deserialize<'de>>(what: &str, part: &str) -> Result<T, AuthError> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| AuthError::Malformed(format!("{what} part is not base64url")))?;
    serde_json::from_slice(&json)
        .map_err(|error| AuthError::Malformed(format!("{what} part: {error}")))
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
