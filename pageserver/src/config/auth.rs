//! Section: who may connect.

use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};

use super::ConfigError;
use super::reader::Reader;

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthType {
    /// They do not.
    #[default]
    Trust,
    /// With a token signed by a known key.
    NeonJWT,
}

/// The text names no authentication type.
#[derive(Debug, thiserror::Error)]
#[error("unknown authentication type")]
pub struct UnknownAuthType;

impl FromStr for AuthType {
    type Err = UnknownAuthType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "Trust" => Ok(AuthType::Trust),
            "NeonJWT" => Ok(AuthType::NeonJWT),
            _ => Err(UnknownAuthType),
        }
    }
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// For the management API (`http_auth_type`), default `Trust`.
    pub http: AuthType,
    /// For the page service (`pg_auth_type`), default `Trust`.
    pub pg: AuthType,
    /// A key file, or a directory of them (`auth_validation_public_key_path`), default
    /// `auth_public_key.pem` in the working directory. Set when a type needs it.
    pub public_key_path: Option<Utf8PathBuf>,
}

impl AuthConfig {
    pub(super) fn read(reader: &mut Reader, workdir: &Utf8Path) -> Result<Self, ConfigError> {
        let allowed = "'Trust' or 'NeonJWT'";
        let http = reader.take_parsed("http_auth_type", allowed)?.unwrap_or_default();
        let pg = reader.take_parsed("pg_auth_type", allowed)?.unwrap_or_default();
        let configured = reader.take_string("auth_validation_public_key_path")?;
        let needed = [http, pg].contains(&AuthType::NeonJWT);
        if !needed {
            return Ok(AuthConfig { http, pg, public_key_path: None });
        }
        let path = workdir.join(configured.as_deref().unwrap_or("auth_public_key.pem"));
        if !path.exists() {
            return Err(ConfigError::NoPublicKey(path));
        }
        Ok(AuthConfig { http, pg, public_key_path: Some(path) })
    }
}
