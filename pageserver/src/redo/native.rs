//! Changes that PostgreSQL makes as a side effect of a record and does not log per page: records of
//! the storage's own, and commit records as they change commit timestamps. Facts:
//! docs/formats/values.md.

use bytes::{BufMut, Bytes, BytesMut};
use pageserver_api::{Key, WalRecord};
use postgres_ffi::page::set_page_lsn;
use postgres_ffi::slru::{
    CLOG_ABORTED, CLOG_COMMITTED, CLOG_XACTS_PER_PAGE, MULTIXACT_GROUPS_PER_PAGE,
    MULTIXACT_MEMBER_GROUP_SIZE, MULTIXACT_MEMBERS_PER_GROUP, MULTIXACT_MEMBERS_PER_PAGE,
    MULTIXACT_OFFSETS_PER_PAGE, SLRU_PAGES_PER_SEGMENT,
};
use postgres_ffi::{BLCKSZ, BlockNumber, ForkNumber, PgMajor, SlruKind};
use utils::Lsn;
use wal_decoder::RecordDecodeError;
use wal_decoder::record::decode;
use wal_redo::RedoFailure;

use crate::keymap::directories::{AuxFilesDirectory, Directory, DirectoryDecodeError};

/// Heap blocks that one visibility map page describes.
const HEAP_BLOCKS_PER_MAP_PAGE: u32 = 32_672;

/// Why such a record could not be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NativeRecordError {
    /// The record is for another kind of key.
    #[error("the record is not for this kind of key")]
    WrongKey,
    /// The record names something that another page holds.
    #[error("{what} {number} is not on this page")]
    NotOnPage {
        /// What the record names.
        what: &'static str,
        /// Its number.
        number: u32,
    },
    /// The value is not a page.
    #[error("the value has {0} bytes, which is not a page")]
    NotAPage(usize),
    /// The stored file map is damaged.
    #[error("the stored file map is damaged")]
    AuxFiles(#[from] DirectoryDecodeError),
    /// The commit record cannot be taken apart.
    #[error(transparent)]
    Decode(#[from] RecordDecodeError),
    /// The record does not change commit timestamps, or is damaged.
    #[error("cannot take commit timestamps from the record: {0}")]
    CommitTimestamps(#[from] RedoFailure),
}

/// Whether records of PostgreSQL under this key are for [`apply`] and not for a page's engine.
pub(super) fn takes_postgres_records(key: Key) -> bool {
    matches!(key.to_slru_block(), Some((SlruKind::CommitTs, _, _)))
}

/// Applies one such record that ends at `lsn`.
pub(super) fn apply(
    key: Key,
    lsn: Lsn,
    value: Bytes,
    record: WalRecord,
    major: PgMajor,
) -> Result<Bytes, NativeRecordError> {
    match record {
        WalRecord::ClearVisibilityMapFlags { new_heap_block, old_heap_block, flags } => {
            clear_visibility_map(key, lsn, value, [new_heap_block, old_heap_block], flags)
        }
        WalRecord::ClogSetCommitted { xids, timestamp } => {
            let mut page = set_transaction_status(key, value, &xids, CLOG_COMMITTED)?;
            page.truncate(BLCKSZ);
            page.put_i64(timestamp);
            Ok(page.freeze())
        }
        WalRecord::ClogSetAborted { xids } => {
            set_transaction_status(key, value, &xids, CLOG_ABORTED).map(BytesMut::freeze)
        }
        WalRecord::MultixactOffsetCreate { multixact, offset } => {
            set_multixact_offsets(key, value, &[(multixact, offset)])
        }
        WalRecord::MultixactOffsetsCreate { entries } => {
            set_multixact_offsets(key, value, &entries)
        }
        WalRecord::MultixactMembersCreate { offset, members } => {
            let page = slru_page(key, SlruKind::MultiXactMembers, value)?;
            set_multixact_members(page, offset, &members)
        }
        WalRecord::AuxFile { path, content } => change_aux_file(key, &value, path, content),
        WalRecord::Postgres { record, .. } => set_commit_timestamps(key, value, &record, major),
    }
}

fn clear_visibility_map(
    key: Key,
    lsn: Lsn,
    value: Bytes,
    heap_blocks: [Option<BlockNumber>; 2],
    flags: u8,
) -> Result<Bytes, NativeRecordError> {
    let (rel, map_block) = key.to_rel_block().ok_or(NativeRecordError::WrongKey)?;
    if rel.fork != ForkNumber::VisibilityMap {
        return Err(NativeRecordError::WrongKey);
    }
    let mut page = BytesMut::from(value);
    let length = page.len();
    let buffer: &mut [u8; BLCKSZ] =
        page.as_mut().try_into().map_err(|_| NativeRecordError::NotAPage(length))?;
    for block in heap_blocks.into_iter().flatten() {
        let elsewhere = NativeRecordError::NotOnPage { what: "heap block", number: block };
        if block / HEAP_BLOCKS_PER_MAP_PAGE != map_block {
            return Err(elsewhere);
        }
        wal_redo::clear_visibility_map_bits(buffer, block, flags).map_err(|_| elsewhere)?;
    }
    set_page_lsn(buffer, lsn);
    Ok(page.freeze())
}

/// Checks that the key is a block of this SLRU and that its value holds at least one page.
fn slru_page(
    key: Key,
    wanted: SlruKind,
    value: Bytes,
) -> Result<(u32, BytesMut), NativeRecordError> {
    let (kind, segment, block) = key.to_slru_block().ok_or(NativeRecordError::WrongKey)?;
    if kind != wanted {
        return Err(NativeRecordError::WrongKey);
    }
    if value.len() < BLCKSZ {
        return Err(NativeRecordError::NotAPage(value.len()));
    }
    let page_number = segment.wrapping_mul(SLRU_PAGES_PER_SEGMENT).wrapping_add(block);
    Ok((page_number, BytesMut::from(value)))
}

fn put(
    page: &mut BytesMut,
    at: u32,
    bytes: &[u8],
    elsewhere: NativeRecordError,
) -> Result<(), NativeRecordError> {
    let at = at as usize;
    page.get_mut(at..at + bytes.len()).ok_or(elsewhere)?.copy_from_slice(bytes);
    Ok(())
}

fn set_transaction_status(
    key: Key,
    value: Bytes,
    xids: &[u32],
    status: u8,
) -> Result<BytesMut, NativeRecordError> {
    let (page_number, mut page) = slru_page(key, SlruKind::Clog, value)?;
    for xid in xids {
        let elsewhere = NativeRecordError::NotOnPage { what: "transaction", number: *xid };
        if xid / CLOG_XACTS_PER_PAGE != page_number {
            return Err(elsewhere);
        }
        let index = xid % CLOG_XACTS_PER_PAGE;
        let shift = 2 * (index % 4);
        let byte = page.get_mut(index as usize / 4).ok_or(elsewhere)?;
        *byte = *byte & !(3 << shift) | status << shift;
    }
    Ok(page)
}

fn set_commit_timestamps(
    key: Key,
    value: Bytes,
    record: &Bytes,
    major: PgMajor,
) -> Result<Bytes, NativeRecordError> {
    let (page_number, mut page) = slru_page(key, SlruKind::CommitTs, value)?;
    let length = page.len();
    let buffer = page.as_mut().try_into().map_err(|_| NativeRecordError::NotAPage(length))?;
    wal_redo::set_commit_timestamps(buffer, page_number, &decode(record, major)?, major)?;
    Ok(page.freeze())
}

fn set_multixact_offsets(
    key: Key,
    value: Bytes,
    entries: &[(u32, u32)],
) -> Result<Bytes, NativeRecordError> {
    let (page_number, mut page) = slru_page(key, SlruKind::MultiXactOffsets, value)?;
    for (multixact, offset) in entries {
        let elsewhere = || NativeRecordError::NotOnPage { what: "multixact", number: *multixact };
        if multixact / MULTIXACT_OFFSETS_PER_PAGE != page_number {
            return Err(elsewhere());
        }
        let at = 4 * (multixact % MULTIXACT_OFFSETS_PER_PAGE);
        put(&mut page, at, &offset.to_le_bytes(), elsewhere())?;
    }
    Ok(page.freeze())
}

fn set_multixact_members(
    (page_number, mut page): (u32, BytesMut),
    first: u32,
    members: &[(u32, u32)],
) -> Result<Bytes, NativeRecordError> {
    for (index, (xid, status)) in members.iter().enumerate() {
        let member = first.wrapping_add(index as u32);
        let elsewhere =
            || NativeRecordError::NotOnPage { what: "multixact member", number: member };
        if member / MULTIXACT_MEMBERS_PER_PAGE != page_number {
            return Err(elsewhere());
        }
        let group = member / MULTIXACT_MEMBERS_PER_GROUP % MULTIXACT_GROUPS_PER_PAGE
            * MULTIXACT_MEMBER_GROUP_SIZE;
        let in_group = member % MULTIXACT_MEMBERS_PER_GROUP;
        put(&mut page, group + in_group, &[*status as u8], elsewhere())?;
        put(&mut page, group + 4 + 4 * in_group, &xid.to_le_bytes(), elsewhere())?;
    }
    Ok(page.freeze())
}

fn change_aux_file(
    key: Key,
    value: &[u8],
    path: String,
    content: Option<Bytes>,
) -> Result<Bytes, NativeRecordError> {
    if key != Key::AUX_FILES_V1 {
        return Err(NativeRecordError::WrongKey);
    }
    let mut files = AuxFilesDirectory::decode(value)?;
    match content {
        Some(content) => {
            files.0.insert(path, content);
        }
        None => {
            files.0.remove(&path);
        }
    }
    Ok(files.encode())
}
