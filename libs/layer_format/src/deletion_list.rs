//! Lists of objects to delete, and the header that says which of them were validated.
//!
//! JSON files of a pageserver's directory `deletion/`. Format: docs/formats/deletion-queue.md. This is
//! the codec only; who writes, validates and executes lists is the pageserver's business.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use std::collections::BTreeMap;

use pageserver_api::shard::TenantShardId;
use serde::{Deserialize, Serialize};
use utils::{Generation, TimelineId};

use crate::paths::remote_timeline_prefix;

/// Version of both files, also part of their names.
pub const DELETION_VERSION: u8 = 1;
/// Name of the header file.
pub const DELETION_HEADER_NAME: &str = "header-01";
/// End of the names of lists.
const LIST_SUFFIX: &str = "-01.list";
/// Digits of the sequence number in the names of lists.
const SEQUENCE_DIGITS: usize = 16;

/// The header: every list up to this sequence number was validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionHeader {
    version: u8,
    /// Lists of this and of lower numbers may be executed.
    pub validated_sequence: u64,
}

/// What one shard asked to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardDeletions {
    /// Names of objects, relative to the shard's directory of the timeline. They end in the
    /// generation that wrote the object.
    pub timelines: BTreeMap<TimelineId, Vec<String>>,
    /// The generation in which the deletion was asked for.
    pub generation: Generation,
}

/// A list of objects to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionList {
    version: u8,
    /// Number of the list, from 1. Part of the file's name.
    pub sequence: u64,
    /// What to delete.
    pub tenants: BTreeMap<TenantShardId, ShardDeletions>,
    size: usize,
    /// Whether the generations were found to be current. In memory; set on disk only by others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub validated: bool,
}

/// A file of the deletion queue cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DeletionListError {
    /// The content is not what it should be.
    #[error("cannot parse: {0}")]
    Parse(#[source] serde_json::Error),
    /// Serialisation failed.
    #[error("cannot serialise: {0}")]
    Serialise(#[source] serde_json::Error),
    /// Written by a version that does things differently.
    #[error("version is {0}; this reads version {DELETION_VERSION}")]
    Version(u8),
    /// A name leads out of its timeline's directory.
    #[error("object name {0:?} is not a plain name")]
    Name(String),
}

impl DeletionHeader {
    /// A header.
    pub fn new(validated_sequence: u64) -> DeletionHeader {
        DeletionHeader { version: DELETION_VERSION, validated_sequence }
    }

    /// Reads a header.
    pub fn from_json(bytes: &[u8]) -> Result<DeletionHeader, DeletionListError> {
        let header: DeletionHeader =
            serde_json::from_slice(bytes).map_err(DeletionListError::Parse)?;
        check_version(header.version)?;
        Ok(header)
    }

    /// Writes a header.
    pub fn to_json(&self) -> Result<Vec<u8>, DeletionListError> {
        serde_json::to_vec(self).map_err(DeletionListError::Serialise)
    }
}

impl DeletionList {
    /// An empty list.
    pub fn new(sequence: u64) -> DeletionList {
        DeletionList {
            version: DELETION_VERSION,
            sequence,
            tenants: BTreeMap::new(),
            size: 0,
            validated: false,
        }
    }

    /// Reads a list.
    pub fn from_json(bytes: &[u8]) -> Result<DeletionList, DeletionListError> {
        let mut list: DeletionList =
            serde_json::from_slice(bytes).map_err(DeletionListError::Parse)?;
        check_version(list.version)?;
        let names = list.tenants.values().flat_map(|shard| shard.timelines.values()).flatten();
        // Whatever is in the file, it must not reach other objects.
        let plain = |name: &str| !name.is_empty() && !name.contains(['/', '\0']) && name != "..";
        if let Some(name) = names.clone().find(|name| !plain(name.as_str()) || *name == ".") {
            return Err(DeletionListError::Name(name.clone()));
        }
        list.size = names.count();
        Ok(list)
    }

    /// Writes a list.
    pub fn to_json(&self) -> Result<Vec<u8>, DeletionListError> {
        serde_json::to_vec(self).map_err(DeletionListError::Serialise)
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Whether there is nothing to delete.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Adds objects; gives them back if the shard is in the list with another generation, of which
    /// there can be one only.
    pub fn push(
        &mut self,
        shard: TenantShardId,
        timeline: TimelineId,
        generation: Generation,
        names: Vec<String>,
    ) -> Result<(), Vec<String>> {
        let new = || ShardDeletions { timelines: BTreeMap::new(), generation };
        let entry = self.tenants.entry(shard).or_insert_with(new);
        if entry.generation != generation {
            return Err(names);
        }
        self.size += names.len();
        entry.timelines.entry(timeline).or_default().extend(names);
        Ok(())
    }

    /// Takes a shard's objects out; returns how many there were.
    pub fn drop_shard(&mut self, shard: &TenantShardId) -> usize {
        let dropped = self.tenants.remove(shard).map_or(0, |dropped| dropped.len());
        self.size = self.size.saturating_sub(dropped);
        dropped
    }

    /// Keys of all objects.
    pub fn remote_paths(&self) -> Vec<String> {
        let mut paths = Vec::with_capacity(self.size);
        for (shard, deletions) in &self.tenants {
            for (timeline, names) in &deletions.timelines {
                let prefix = remote_timeline_prefix(shard, timeline);
                paths.extend(names.iter().map(|name| format!("{prefix}{name}")));
            }
        }
        paths
    }

    /// Name of the file of a list.
    pub fn file_name(sequence: u64) -> String {
        format!("{sequence:016x}{LIST_SUFFIX}")
    }

    /// The sequence number in the name of a list's file; `None` for other names.
    pub fn parse_file_name(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(LIST_SUFFIX)?;
        let valid =
            digits.len() == SEQUENCE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    }
}

impl ShardDeletions {
    /// Number of objects.
    pub fn len(&self) -> usize {
        self.timelines.values().map(Vec::len).sum()
    }

    /// Whether there is nothing to delete.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn check_version(version: u8) -> Result<(), DeletionListError> {
    match version {
        DELETION_VERSION => Ok(()),
        other => Err(DeletionListError::Version(other)),
    }
}

#[cfg(test)]
mod tests;
