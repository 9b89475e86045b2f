//! Auxiliary files, version 2: one key per hash of the path, several files per key if their
//! hashes collide. Byte forms: docs/formats/values.md.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pageserver_api::Key;

/// Field 1 of every such key.
const AUX_FILE_PREFIX: u8 = 0x62;
/// First byte of every non-empty value.
const ENCODING_VERSION: u8 = 1;

const FNV_OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;

/// The bytes are not a list of files.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuxFilesDecodeError {
    /// Written in a way that is not known.
    #[error("aux files are encoded in version {0}, only version 1 is known")]
    UnknownVersion(u8),
    /// The bytes end early.
    #[error("aux files end too early: {0} is incomplete")]
    Truncated(&'static str),
    /// A path is not text.
    #[error("aux file path is not UTF-8")]
    BadPath,
}

/// The key that holds the file at `path`.
pub fn aux_file_key(path: &str) -> Key {
    let (dir1, dir2, hashed) = split_path(path);
    let hash = hashed
        .bytes()
        .fold(FNV_OFFSET_BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME));
    const LOW_13_BYTES: u128 = (1 << 104) - 1;
    let compact = u128::from(AUX_FILE_PREFIX) << 120
        | u128::from(dir1) << 112
        | u128::from(dir2) << 104
        | hash & LOW_13_BYTES;
    Key::from_i128(compact as i128)
}

fn split_path(path: &str) -> (u8, u8, &str) {
    if let Some(rest) = path.strip_prefix("pg_logical/mappings/") {
        (0x01, 0x01, rest)
    } else if let Some(rest) = path.strip_prefix("pg_logical/snapshots/") {
        (0x01, 0x02, rest)
    } else if path == "pg_logical/replorigin_checkpoint" {
        (0x01, 0x03, "")
    } else if let Some(rest) = path.strip_prefix("pg_logical/") {
        (0x01, 0xFF, rest)
    } else if let Some(rest) = path.strip_prefix("pg_replslot/") {
        (0x02, 0x01, rest)
    } else {
        (0xFF, 0xFF, path)
    }
}

/// The files of one key's value.
pub fn decode_aux_files(value: &Bytes) -> Result<Vec<(String, Bytes)>, AuxFilesDecodeError> {
    let mut rest = value.clone();
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    match rest.get_u8() {
        ENCODING_VERSION => {}
        version => return Err(AuxFilesDecodeError::UnknownVersion(version)),
    }
    let mut files = Vec::new();
    while !rest.is_empty() {
        let path = take_string(&mut rest, "path")?;
        let path = String::from_utf8(path.to_vec()).map_err(|_| AuxFilesDecodeError::BadPath)?;
        files.push((path, take_string(&mut rest, "content")?));
    }
    Ok(files)
}

fn take_string(rest: &mut Bytes, what: &'static str) -> Result<Bytes, AuxFilesDecodeError> {
    let length = rest.try_get_u32().map_err(|_| AuxFilesDecodeError::Truncated(what))? as usize;
    if length > rest.len() {
        return Err(AuxFilesDecodeError::Truncated(what));
    }
    Ok(rest.split_to(length))
}

/// One key's value for these files; empty for none.
pub fn encode_aux_files(files: &[(String, Bytes)]) -> Bytes {
    if files.is_empty() {
        return Bytes::new();
    }
    let mut out = BytesMut::new();
    out.put_u8(ENCODING_VERSION);
    for (path, content) in files {
        out.put_u32(path.len() as u32);
        out.put_slice(path.as_bytes());
        out.put_u32(content.len() as u32);
        out.put_slice(content);
    }
    out.freeze()
}

#[cfg(test)]
mod tests;
