//! Section: the control plane that hands out generations.

use std::fmt;

use super::ConfigError;
use super::reader::Reader;

/// The control plane. Without an `api` tenants are attached in the generations that the last
/// process stored, and whoever drives the node hands them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpcallConfig {
    /// Base URL of its API, with a final slash (`control_plane_api`).
    pub api: Option<String>,
    /// What to authenticate with (`control_plane_api_token`).
    pub api_token: Option<Secret>,
    /// Start with the stored generations, without asking (`control_plane_emergency_mode`). Two nodes
    /// may then serve a tenant: only for when the control plane is gone.
    pub emergency_mode: bool,
}

/// Text that must not appear in the log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl UpcallConfig {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, ConfigError> {
        let token = reader.take_string("control_plane_api_token")?;
        Ok(UpcallConfig {
            api: Self::read_api(reader)?,
            api_token: token.filter(|token| !token.is_empty()).map(Secret),
            emergency_mode: reader.take_bool("control_plane_emergency_mode")?.unwrap_or(false),
        })
    }

    fn read_api(reader: &mut Reader) -> Result<Option<String>, ConfigError> {
        let key = "control_plane_api";
        let Some(mut url) = reader.take_string(key)?.filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let host = url.strip_prefix("http://").unwrap_or_default();
        if host.is_empty() || host.starts_with('/') {
            return Err(ConfigError::Invalid {
                key,
                value: format!("'{url}'"),
                reason: "expected a URL such as 'http://controller:1234/upcall/v1/'; this version \
                         speaks to the control plane without TLS"
                    .to_owned(),
            });
        }
        if !url.ends_with('/') {
            url.push('/');
        }
        Ok(Some(url))
    }
}
