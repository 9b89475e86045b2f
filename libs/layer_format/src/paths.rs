//! Where things are: object keys of the remote store, and file names of the local directory.
//!
//! Formats: docs/formats/remote-layout.md, docs/formats/local-directory.md. Remote keys are
//! relative and use `/`; an optional prefix belongs to the store's own configuration. Nothing
//! here touches a file.

use pageserver_api::shard::TenantShardId;
use utils::{Generation, TenantId, TimelineId};

use crate::index_part::{IndexPart, LayerFileMetadata};
use crate::name::LayerName;

/// End of every temporary name; files that end so are deleted on sight at startup.
pub const TEMP_SUFFIX: &str = "___temp";
/// End of a layer file that is still being downloaded.
pub const TEMP_DOWNLOAD_EXTENSION: &str = "temp_download";
/// Start of the names of open layers' files, which do not outlive the process.
pub const EPHEMERAL_PREFIX: &str = "ephemeral-";
/// The initial database of a timeline.
pub const INITDB_ARCHIVE: &str = "initdb.tar.zst";
/// A copy of the initial database that deletion spares.
pub const INITDB_PRESERVED_ARCHIVE: &str = "initdb-preserved.tar.zst";
/// Which layers an attached location holds, for its secondaries.
pub const HEATMAP_FILE_NAME: &str = "heatmap-v1.json";

/// Prefix of everything of a tenant shard, without a final `/`.
pub fn remote_tenant_prefix(tenant: &TenantShardId) -> String {
    format!("tenants/{tenant}")
}

/// Prefix of a tenant shard's timelines, with a final `/`, for listing.
pub fn remote_timelines_prefix(tenant: &TenantShardId) -> String {
    format!("tenants/{tenant}/timelines/")
}

/// Prefix of one timeline, with a final `/`.
pub fn remote_timeline_prefix(tenant: &TenantShardId, timeline: &TimelineId) -> String {
    format!("tenants/{tenant}/timelines/{timeline}/")
}

/// Key of the index written in `generation`.
pub fn remote_index_path(
    tenant: &TenantShardId,
    timeline: &TimelineId,
    generation: Generation,
) -> String {
    format!("{}{}", remote_timeline_prefix(tenant, timeline), IndexPart::object_name(generation))
}

/// Key of a layer. Shard and generation are those of its metadata, not those of the reader.
pub fn remote_layer_path(
    tenant: &TenantId,
    timeline: &TimelineId,
    name: &LayerName,
    metadata: &LayerFileMetadata,
) -> String {
    let shard = metadata.shard.path_suffix();
    let object = name.remote_object_name(metadata.generation);
    format!("tenants/{tenant}{shard}/timelines/{timeline}/{object}")
}

/// Key of the initial database; always under the unsharded tenant, never with a generation.
pub fn remote_initdb_archive_path(tenant: &TenantId, timeline: &TimelineId) -> String {
    format!("tenants/{tenant}/timelines/{timeline}/{INITDB_ARCHIVE}")
}

/// Key of the preserved copy of the initial database.
pub fn remote_initdb_preserved_path(tenant: &TenantId, timeline: &TimelineId) -> String {
    format!("tenants/{tenant}/timelines/{timeline}/{INITDB_PRESERVED_ARCHIVE}")
}

/// Key of a tenant shard's heatmap.
pub fn remote_heatmap_path(tenant: &TenantShardId) -> String {
    format!("tenants/{tenant}/{HEATMAP_FILE_NAME}")
}

/// What a file in a timeline's local directory is, judged by its name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalFileKind {
    /// A finished layer and the generation in its name.
    Layer(LayerName, Generation),
    /// The file of an open layer, of no use after a restart.
    Ephemeral,
    /// Something half-written.
    Temporary,
    /// A layer whose download did not finish.
    TemporaryDownload,
    /// A backup left by an earlier version.
    LegacyBackup,
    /// Nothing we would have written.
    Unknown,
}

impl LocalFileKind {
    /// Classifies a file name.
    pub fn of(name: &str) -> LocalFileKind {
        if let Ok((layer, generation)) = LayerName::parse_local(name) {
            return LocalFileKind::Layer(layer, generation);
        }
        if name.strip_prefix(EPHEMERAL_PREFIX).is_some_and(|n| n.parse::<u64>().is_ok()) {
            LocalFileKind::Ephemeral
        } else if name.ends_with(TEMP_SUFFIX) {
            LocalFileKind::Temporary
        } else if name.ends_with(TEMP_DOWNLOAD_EXTENSION) {
            LocalFileKind::TemporaryDownload
        } else if name.ends_with(".old") {
            LocalFileKind::LegacyBackup
        } else {
            LocalFileKind::Unknown
        }
    }
}

#[cfg(test)]
mod tests;
