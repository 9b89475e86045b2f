//! `config-v1`: the location of a tenant shard on disk, in TOML.

use camino::{Utf8Path, Utf8PathBuf};
use pageserver_api::models::TenantConfigOverrides;
use pageserver_api::shard::ShardIdentity;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::config::node::tenant_options;

use super::{LocationConf, LocationMode};

/// What the file begins with.
const HEADER: &str = "# This file contains a specific per-tenant's config.\n\
                      # It is read in case of pageserver restart.\n\n";

/// Why a location could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LocationFileError {
    /// The file could not be read or written.
    #[error("cannot {action} tenant config {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The content makes no sense.
    #[error("cannot parse tenant config {path}: {reason}; attach the tenant again to replace it")]
    Malformed {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        reason: String,
    },
    /// The content could not be put into words.
    #[error("cannot serialise a tenant config: {0}")]
    Serialise(#[from] toml::ser::Error),
}

impl LocationFileError {
    /// Whether there is no file.
    pub fn is_not_found(&self) -> bool {
        match self {
            LocationFileError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            LocationFileError::Malformed { .. } | LocationFileError::Serialise(_) => false,
        }
    }
}

#[derive(Serialize)]
struct WrittenFile<'a> {
    mode: LocationMode,
    #[serde(skip_serializing_if = "ShardIdentity::is_unsharded")]
    shard: ShardIdentity,
    tenant_conf: &'a TenantConfigOverrides,
}

#[derive(Deserialize)]
struct ReadFile {
    mode: LocationMode,
    #[serde(default)]
    shard: ShardIdentity,
    #[serde(default)]
    tenant_conf: Table,
}

/// The content of the file.
pub fn render(conf: &LocationConf) -> Result<String, LocationFileError> {
    let file = WrittenFile { mode: conf.mode, shard: conf.shard, tenant_conf: &conf.tenant_conf };
    Ok(format!("{HEADER}{}", toml::to_string(&file)?))
}

/// Reads the content of the file. `path` is for the error message.
pub fn parse(text: &str, path: &Utf8Path) -> Result<LocationConf, LocationFileError> {
    let malformed = |reason: String| LocationFileError::Malformed { path: path.to_owned(), reason };
    let file: ReadFile =
        toml::from_str(text).map_err(|error| malformed(error.message().to_owned()))?;
    let tenant_conf = tenant_options(&file.tenant_conf).map_err(malformed)?;
    Ok(LocationConf { mode: file.mode, shard: file.shard, tenant_conf })
}

/// Reads the file. Blocking.
pub fn load(path: &Utf8Path) -> Result<LocationConf, LocationFileError> {
    let bytes = std::fs::read(path).map_err(|source| LocationFileError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|error| LocationFileError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    parse(text, path)
}

/// Writes the file so that a crash leaves either the old or the new content. Blocking.
pub fn persist(path: &Utf8Path, conf: &LocationConf) -> Result<(), LocationFileError> {
    let text = render(conf)?;
    fail::fail_point!("tenant-config-before-write", |_| Err(LocationFileError::Io {
        action: "write",
        path: path.to_owned(),
        source: std::io::Error::other("failpoint: tenant-config-before-write"),
    }));
    utils::fs_ext::write_crash_safe(path.as_std_path(), text.as_bytes()).map_err(|error| {
        LocationFileError::Io {
            action: error.operation,
            path: path.to_owned(),
            source: error.source,
        }
    })
}
