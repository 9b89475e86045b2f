//! PostgreSQL's `CheckPoint` structure: 88 bytes, little-endian, with C padding.
//!
//! The body of checkpoint records, a part of `pg_control`, and a stored value of every
//! timeline. Layout: docs/formats/values.md. `wal_level` exists from PostgreSQL 17 on; before,
//! its place is padding.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use utils::Lsn;

use crate::Oid;
use crate::reader::{LeReader, TooShort};
use crate::slru::commit_ts_pages;

/// Length of the structure in bytes, padding included.
pub const CHECKPOINT_SIZE: usize = 88;
/// Stored next transactions are rounded up to a multiple of this.
const XID_ROUNDING: u32 = 1024;
/// The first transaction id that is not reserved.
pub const FIRST_NORMAL_XID: u32 = 3;

/// What a server needs to know to start from a position in the WAL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckPoint {
    /// Where redo starts.
    pub redo: Lsn,
    /// Timeline of the WAL.
    pub this_timeline_id: u32,
    /// Timeline before, differing only just after a switch.
    pub prev_timeline_id: u32,
    /// Whether full pages are being written.
    pub full_page_writes: bool,
    /// Since 17: the `wal_level` in force. Zero before.
    pub wal_level: i32,
    /// Next transaction: epoch in the high half, id in the low half.
    pub next_xid: u64,
    /// Next object identifier.
    pub next_oid: Oid,
    /// Next multixact.
    pub next_multi: u32,
    /// Where the next multixact's members begin.
    pub next_multi_offset: u32,
    /// Oldest transaction whose status is kept.
    pub oldest_xid: u32,
    /// The database that holds it.
    pub oldest_xid_db: Oid,
    /// Oldest multixact that is kept.
    pub oldest_multi: u32,
    /// The database that holds it.
    pub oldest_multi_db: Oid,
    /// Unix time in seconds.
    pub time: i64,
    /// Oldest transaction with a commit timestamp.
    pub oldest_commit_ts_xid: u32,
    /// Newest transaction with a commit timestamp.
    pub newest_commit_ts_xid: u32,
    /// Oldest running transaction; 0 in a shutdown checkpoint.
    pub oldest_active_xid: u32,
}

impl CheckPoint {
    /// Reads the structure from the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<CheckPoint, TooShort> {
        let mut reader = LeReader::new(bytes);
        let mut body = LeReader::new(reader.bytes(CHECKPOINT_SIZE, "checkpoint")?);
        Ok(CheckPoint {
            redo: Lsn(body.u64("redo")?),
            this_timeline_id: body.u32("timeline")?,
            prev_timeline_id: body.u32("previous timeline")?,
            full_page_writes: {
                let [flag, _, _, _] = body.array("full_page_writes")?;
                flag != 0
            },
            wal_level: body.i32("wal_level")?,
            next_xid: body.u64("next xid")?,
            next_oid: body.u32("next oid")?,
            next_multi: body.u32("next multixact")?,
            next_multi_offset: body.u32("next multixact offset")?,
            oldest_xid: body.u32("oldest xid")?,
            oldest_xid_db: body.u32("oldest xid database")?,
            oldest_multi: body.u32("oldest multixact")?,
            oldest_multi_db: body.u32("oldest multixact database")?,
            time: {
                // Alignment of the 64-bit time leaves a gap of four bytes.
                body.skip(4, "padding")?;
                body.i64("time")?
            },
            oldest_commit_ts_xid: body.u32("oldest commit timestamp xid")?,
            newest_commit_ts_xid: body.u32("newest commit timestamp xid")?,
            oldest_active_xid: body.u32("oldest active xid")?,
        })
    }

    /// The structure's bytes; padding is zero.
    pub fn encode(&self) -> [u8; CHECKPOINT_SIZE] {
        let mut out = Vec::with_capacity(CHECKPOINT_SIZE);
        out.extend_from_slice(&self.redo.0.to_le_bytes());
        out.extend_from_slice(&self.this_timeline_id.to_le_bytes());
        out.extend_from_slice(&self.prev_timeline_id.to_le_bytes());
        out.extend_from_slice(&u32::from(self.full_page_writes).to_le_bytes());
        out.extend_from_slice(&self.wal_level.to_le_bytes());
        out.extend_from_slice(&self.next_xid.to_le_bytes());
        for word in [
            self.next_oid,
            self.next_multi,
            self.next_multi_offset,
            self.oldest_xid,
            self.oldest_xid_db,
            self.oldest_multi,
            self.oldest_multi_db,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        // The seven words above end at 60; the 64-bit time needs 8-byte alignment.
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.time.to_le_bytes());
        for word in [self.oldest_commit_ts_xid, self.newest_commit_ts_xid, self.oldest_active_xid] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let mut bytes = [0; CHECKPOINT_SIZE];
        bytes.iter_mut().zip(out).for_each(|(byte, new)| *byte = new);
        bytes
    }

    /// The low half of [`CheckPoint::next_xid`].
    pub fn next_xid_low(&self) -> u32 {
        self.next_xid as u32
    }

    /// Advances `next_xid` beyond `xid`, rounded up to a multiple of 1024 so that the stored
    /// value changes rarely. Returns whether it changed.
    pub fn advance_next_xid(&mut self, xid: u32) -> bool {
        let after = xid.wrapping_add(1).max(FIRST_NORMAL_XID);
        let candidate = after.wrapping_add(XID_ROUNDING - 1) & !(XID_ROUNDING - 1);
        let candidate = candidate.max(FIRST_NORMAL_XID);
        let current = self.next_xid_low();
        if (candidate.wrapping_sub(current) as i32) <= 0 {
            return false;
        }
        let mut epoch = self.next_xid >> 32;
        if candidate < current {
            epoch += 1;
        }
        self.next_xid = epoch << 32 | u64::from(candidate);
        true
    }

    /// The commit timestamp pages from that of the newest transaction with a timestamp to that of
    /// the next transaction, as far as rounding can have led past them: a server that starts from
    /// this checkpoint logs the creation of none of them.
    pub fn skipped_commit_ts_pages(&self) -> impl Iterator<Item = u32> + use<> {
        let next = self.next_xid_low();
        let skipped = match self.newest_commit_ts_xid {
            0 => 0,
            newest => next.wrapping_sub(newest).min(XID_ROUNDING),
        };
        commit_ts_pages(next.wrapping_sub(skipped), next)
    }

    /// Advances the next multixact and the next member offset, each only forward on its circle.
    /// Returns whether either changed.
    pub fn advance_next_multi(&mut self, next_multi: u32, next_offset: u32) -> bool {
        let mut changed = false;
        for (current, new) in
            [(&mut self.next_multi, next_multi), (&mut self.next_multi_offset, next_offset)]
        {
            if (new.wrapping_sub(*current) as i32) > 0 {
                *current = new;
                changed = true;
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests;
