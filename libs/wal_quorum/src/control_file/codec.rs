//! The file container (magic, version, checksum) and the layout of the current
//! versions, 8 and 9.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use bytes::{BufMut, Bytes, BytesMut};
use utils::{Lsn, NodeId, TenantId, TimelineId};

use super::legacy;
use super::{
    AcceptorState, ControlFile, EvictionState, PartialBackupState, PartialRemoteSegment,
    PersistedPeerInfo, ProposerUuid, ServerInfo, UploadStatus,
};
use crate::term_history::TermHistory;
use crate::wire::{Reader, Truncated, put_history};

/// First four bytes of the file, little-endian.
pub const CONTROL_FILE_MAGIC: u32 = 0xCAFE_CEEF;
/// The newest version this code reads and, for evicted timelines, writes.
pub const NEWEST_VERSION: u32 = 9;
/// Version written while the WAL is present, readable by older binaries.
const PRESENT_VERSION: u32 = 8;
/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = 4;

/// Why a control file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlFileError {
    /// Shorter than the smallest possible file, or a length inside it is too great.
    #[error("safekeeper control file is truncated or damaged: {0}")]
    Truncated(#[from] Truncated),
    /// The content does not match its checksum.
    #[error(
        "safekeeper control file checksum mismatch: file says {expected:#010X}, \
         content gives {actual:#010X}; restore the file from a peer"
    )]
    ChecksumMismatch {
        /// Stored in the file.
        expected: u32,
        /// Computed over the content.
        actual: u32,
    },
    /// Not a control file.
    #[error("bad safekeeper control file magic {0:#010X}, expected {CONTROL_FILE_MAGIC:#010X}")]
    BadMagic(u32),
    /// Written by a newer binary, or never valid.
    #[error(
        "unknown safekeeper control file version {0}, versions 1 to {NEWEST_VERSION} are known"
    )]
    UnknownVersion(u32),
    /// A text field does not hold what it should.
    #[error("safekeeper control file field {field} is invalid: {text:?}")]
    InvalidText {
        /// Which field.
        field: &'static str,
        /// What it held.
        text: String,
    },
    /// An enumeration has no such variant.
    #[error("safekeeper control file field {field} has unknown variant {variant}")]
    UnknownVariant {
        /// Which field.
        field: &'static str,
        /// The index read.
        variant: u32,
    },
    /// Bytes behind the last field.
    #[error("{0} bytes follow the last field of the safekeeper control file")]
    Surplus(usize),
}

impl ControlFile {
    /// Reads a file of any known version; upgrades happen in memory only.
    pub fn decode(file: &[u8]) -> Result<Self, ControlFileError> {
        let body_end = file.len().saturating_sub(CHECKSUM_BYTES);
        let (content, checksum) = file.split_at_checked(body_end).unwrap_or((file, &[]));
        let expected = Reader::new(Bytes::copy_from_slice(checksum)).u32("checksum")?;
        let actual = crc32c::crc32c(content);
        if expected != actual {
            return Err(ControlFileError::ChecksumMismatch { expected, actual });
        }
        let mut reader = Reader::new(Bytes::copy_from_slice(content));
        let magic = reader.u32("magic")?;
        if magic != CONTROL_FILE_MAGIC {
            return Err(ControlFileError::BadMagic(magic));
        }
        let state = match reader.u32("version")? {
            1 => legacy::read_v1(&mut reader)?,
            2 => legacy::read_v2(&mut reader)?,
            3 => legacy::read_v3(&mut reader)?,
            4 => legacy::read_v4(&mut reader)?,
            5 => legacy::read_v5(&mut reader)?,
            6 => legacy::read_v6(&mut reader)?,
            7 => read_v7(&mut reader)?,
            8 => read_v8(&mut reader)?,
            9 => read_v9(&mut reader)?,
            version => return Err(ControlFileError::UnknownVersion(version)),
        };
        match reader.remaining() {
            0 => Ok(state),
            surplus => Err(ControlFileError::Surplus(surplus)),
        }
    }

    /// The file's bytes: version 8, or 9 when the timeline is evicted.
    pub fn encode(&self) -> Vec<u8> {
        let version = match self.eviction_state {
            EvictionState::Present => PRESENT_VERSION,
            EvictionState::Offloaded(_) => NEWEST_VERSION,
        };
        let mut out = BytesMut::with_capacity(256);
        out.put_u32_le(CONTROL_FILE_MAGIC);
        out.put_u32_le(version);
        self.put_identity(&mut out);
        self.put_positions(&mut out);
        self.put_partial_backup(&mut out);
        match self.eviction_state {
            EvictionState::Present => {}
            EvictionState::Offloaded(flush_lsn) => {
                out.put_u32_le(1);
                out.put_u64_le(flush_lsn.0);
            }
        }
        let checksum = crc32c::crc32c(&out);
        out.put_u32_le(checksum);
        out.to_vec()
    }

    fn put_identity(&self, out: &mut BytesMut) {
        put_string(out, &self.tenant_id.to_string());
        put_string(out, &self.timeline_id.to_string());
        out.put_u64_le(self.acceptor_state.term);
        out.put_u64_le(self.acceptor_state.term_history.0.len() as u64);
        put_history(out, &self.acceptor_state.term_history);
        out.put_u32_le(self.server.pg_version);
        out.put_u64_le(self.server.system_id);
        out.put_u32_le(self.server.wal_seg_size);
        put_string(out, &self.proposer_uuid.to_string());
    }

    fn put_positions(&self, out: &mut BytesMut) {
        out.put_u64_le(self.timeline_start_lsn.0);
        out.put_u64_le(self.local_start_lsn.0);
        out.put_u64_le(self.commit_lsn.0);
        out.put_u64_le(self.backup_lsn.0);
        out.put_u64_le(self.peer_horizon_lsn.0);
        out.put_u64_le(self.remote_consistent_lsn.0);
        out.put_u64_le(self.peers.len() as u64);
        for (node_id, peer) in &self.peers {
            out.put_u64_le(node_id.0);
            out.put_u64_le(peer.backup_lsn.0);
            out.put_u64_le(peer.term);
            out.put_u64_le(peer.flush_lsn.0);
            out.put_u64_le(peer.commit_lsn.0);
        }
    }

    fn put_partial_backup(&self, out: &mut BytesMut) {
        out.put_u64_le(self.partial_backup.segments.len() as u64);
        for segment in &self.partial_backup.segments {
            out.put_u32_le(match segment.status {
                UploadStatus::InProgress => 0,
                UploadStatus::Uploaded => 1,
                UploadStatus::Deleting => 2,
            });
            put_string(out, &segment.name);
            out.put_u64_le(segment.commit_lsn.0);
            out.put_u64_le(segment.flush_lsn.0);
            out.put_u64_le(segment.term);
        }
    }
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_u64_le(text.len() as u64);
    out.put_slice(text.as_bytes());
}

pub(super) fn read_string(
    reader: &mut Reader,
    field: &'static str,
) -> Result<String, ControlFileError> {
    let length = reader.u64(field)?;
    let bytes = reader.bytes(field, length)?;
    String::from_utf8(bytes.to_vec()).map_err(|error| ControlFileError::InvalidText {
        field,
        text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// An id written as a string of hexadecimal digits.
pub(super) fn read_hex<T: std::str::FromStr>(
    reader: &mut Reader,
    field: &'static str,
) -> Result<T, ControlFileError> {
    let text = read_string(reader, field)?;
    text.parse().map_err(|_| ControlFileError::InvalidText { field, text })
}

pub(super) fn read_history(reader: &mut Reader) -> Result<TermHistory, ControlFileError> {
    let count = reader.u64("term_history length")?;
    Ok(reader.history("term_history", count)?)
}

pub(super) fn read_acceptor_state(reader: &mut Reader) -> Result<AcceptorState, ControlFileError> {
    Ok(AcceptorState { term: reader.u64("term")?, term_history: read_history(reader)? })
}

pub(super) fn read_server(reader: &mut Reader) -> Result<ServerInfo, ControlFileError> {
    Ok(ServerInfo {
        pg_version: reader.u32("pg_version")?,
        system_id: reader.u64("system_id")?,
        wal_seg_size: reader.u32("wal_seg_size")?,
    })
}

pub(super) fn read_peers(
    reader: &mut Reader,
) -> Result<Vec<(NodeId, PersistedPeerInfo)>, ControlFileError> {
    let count = reader.u64("peers length")?;
    let mut peers = Vec::new();
    for _ in 0..count {
        let node_id = NodeId(reader.u64("peer node_id")?);
        let peer = PersistedPeerInfo {
            backup_lsn: reader.lsn("peer backup_lsn")?,
            term: reader.u64("peer term")?,
            flush_lsn: reader.lsn("peer flush_lsn")?,
            commit_lsn: reader.lsn("peer commit_lsn")?,
        };
        peers.push((node_id, peer));
    }
    Ok(peers)
}

fn read_partial_backup(reader: &mut Reader) -> Result<PartialBackupState, ControlFileError> {
    let count = reader.u64("partial_backup length")?;
    let mut segments = Vec::new();
    for _ in 0..count {
        let status = match reader.u32("partial segment status")? {
            0 => UploadStatus::InProgress,
            1 => UploadStatus::Uploaded,
            2 => UploadStatus::Deleting,
            variant => {
                let field = "partial segment status";
                return Err(ControlFileError::UnknownVariant { field, variant });
            }
        };
        segments.push(PartialRemoteSegment {
            status,
            name: read_string(reader, "partial segment name")?,
            commit_lsn: reader.lsn("partial segment commit_lsn")?,
            flush_lsn: reader.lsn("partial segment flush_lsn")?,
            term: reader.u64("partial segment term")?,
        });
    }
    Ok(PartialBackupState { segments })
}

fn read_eviction_state(reader: &mut Reader) -> Result<EvictionState, ControlFileError> {
    match reader.u32("eviction_state")? {
        0 => Ok(EvictionState::Present),
        1 => Ok(EvictionState::Offloaded(reader.lsn("eviction_state flush_lsn")?)),
        variant => Err(ControlFileError::UnknownVariant { field: "eviction_state", variant }),
    }
}

/// Fields 1 to 15, the whole of version 7.
pub(super) fn read_v7(reader: &mut Reader) -> Result<ControlFile, ControlFileError> {
    Ok(ControlFile {
        tenant_id: read_hex::<TenantId>(reader, "tenant_id")?,
        timeline_id: read_hex::<TimelineId>(reader, "timeline_id")?,
        acceptor_state: read_acceptor_state(reader)?,
        server: read_server(reader)?,
        proposer_uuid: read_hex::<ProposerUuid>(reader, "proposer_uuid")?,
        timeline_start_lsn: read_lsn(reader, "timeline_start_lsn")?,
        local_start_lsn: read_lsn(reader, "local_start_lsn")?,
        commit_lsn: read_lsn(reader, "commit_lsn")?,
        backup_lsn: read_lsn(reader, "backup_lsn")?,
        peer_horizon_lsn: read_lsn(reader, "peer_horizon_lsn")?,
        remote_consistent_lsn: read_lsn(reader, "remote_consistent_lsn")?,
        peers: read_peers(reader)?,
        partial_backup: PartialBackupState::default(),
        eviction_state: EvictionState::Present,
    })
}

fn read_v8(reader: &mut Reader) -> Result<ControlFile, ControlFileError> {
    let mut state = read_v7(reader)?;
    state.partial_backup = read_partial_backup(reader)?;
    Ok(state)
}

fn read_v9(reader: &mut Reader) -> Result<ControlFile, ControlFileError> {
    let mut state = read_v8(reader)?;
    state.eviction_state = read_eviction_state(reader)?;
    Ok(state)
}

fn read_lsn(reader: &mut Reader, field: &'static str) -> Result<Lsn, ControlFileError> {
    Ok(reader.lsn(field)?)
}
