//! The body of commit and abort records: parts that flags announce, in a fixed order.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use postgres_ffi::pg_constants::xact;
use postgres_ffi::{LeReader, PgMajor, RelTag, TooShort};
use utils::Lsn;

const INVALIDATION_MESSAGE_SIZE: usize = 16;

/// What the body of a commit or abort record says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct XactEnd {
    /// When it ended, in microseconds since 2000-01-01 UTC.
    pub time: i64,
    /// Subtransactions that ended with it.
    pub subxids: Vec<u32>,
    /// Main forks of dropped relations.
    pub dropped: Vec<RelTag>,
    /// The prepared transaction that ends. The record's own transaction is another one then.
    pub two_phase_xid: Option<u32>,
    /// Where the transaction came from, if it was replicated.
    pub origin: Option<XactOrigin>,
}

/// A replicated transaction's end at its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XactOrigin {
    /// Position in the origin's WAL.
    pub lsn: Lsn,
    /// Time there in microseconds since 2000-01-01 UTC; 0 if unknown.
    pub time: i64,
}

impl XactEnd {
    /// Reads the main data of a record with this info byte. Fails if they end early.
    pub fn parse(main_data: &[u8], info: u8, major: PgMajor) -> Result<XactEnd, TooShort> {
        let mut body = LeReader::new(main_data);
        let mut end = XactEnd { time: body.i64("transaction time")?, ..XactEnd::default() };
        let xinfo = if info & xact::HAS_INFO != 0 { body.u32("transaction flags")? } else { 0 };
        let has = |flag: u32| xinfo & flag != 0;
        if has(xact::XINFO_HAS_DBINFO) {
            body.skip(8, "database")?;
        }
        if has(xact::XINFO_HAS_SUBXACTS) {
            for _ in 0..body.u32("subtransaction count")? {
                end.subxids.push(body.u32("subtransaction")?);
            }
        }
        if has(xact::XINFO_HAS_RELFILELOCATORS) {
            for _ in 0..body.u32("dropped relation count")? {
                end.dropped.push(RelTag::read(&mut body)?);
            }
        }
        if has(xact::XINFO_HAS_DROPPED_STATS) {
            skip_items(&mut body, stats_item_size(major), "dropped statistics")?;
        }
        if has(xact::XINFO_HAS_INVALS) {
            skip_items(&mut body, INVALIDATION_MESSAGE_SIZE, "invalidation messages")?;
        }
        if has(xact::XINFO_HAS_TWOPHASE) {
            end.two_phase_xid = Some(body.u32("prepared transaction")?);
            if has(xact::XINFO_HAS_GID) {
                body.cstr("prepared transaction name")?;
            }
        }
        if has(xact::XINFO_HAS_ORIGIN) {
            let (lsn, time) = (body.u64("origin position")?, body.i64("origin time")?);
            end.origin = Some(XactOrigin { lsn: Lsn(lsn), time });
        }
        Ok(end)
    }

    /// The commit timestamp of the transaction and its subtransactions: the time at the origin if
    /// that is known. The server that logged the record took its own time otherwise.
    pub fn commit_timestamp(&self) -> i64 {
        match self.origin {
            Some(XactOrigin { time, .. }) if time != 0 => time,
            _ => self.time,
        }
    }
}

fn stats_item_size(major: PgMajor) -> usize {
    match major {
        PgMajor::V15 | PgMajor::V16 | PgMajor::V17 => 12,
        PgMajor::V18 => 16,
    }
}

fn skip_items(body: &mut LeReader, item_size: usize, what: &'static str) -> Result<(), TooShort> {
    let count = body.u32(what)?;
    body.skip((count as usize).saturating_mul(item_size), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_commit_with_a_name_still_finds_its_origin() {
        let xinfo = xact::XINFO_HAS_DBINFO
            | xact::XINFO_HAS_SUBXACTS
            | xact::XINFO_HAS_DROPPED_STATS
            | xact::XINFO_HAS_TWOPHASE
            | xact::XINFO_HAS_GID
            | xact::XINFO_HAS_ORIGIN;
        let mut body = 5i64.to_le_bytes().to_vec();
        for word in [xinfo, 1, 1663, 2, 701, 702, 1] {
            body.extend(word.to_le_bytes());
        }
        body.extend([0; 12]);
        body.extend(700u32.to_le_bytes());
        body.extend(b"gid\0");
        body.extend(0x1_0000_0020u64.to_le_bytes());
        body.extend(9i64.to_le_bytes());
        let info = xact::COMMIT_PREPARED | xact::HAS_INFO;
        let end = XactEnd::parse(&body, info, PgMajor::V17).unwrap();
        assert_eq!(end.time, 5);
        assert_eq!(end.subxids, [701, 702]);
        assert_eq!(end.two_phase_xid, Some(700));
        assert_eq!(end.origin, Some(XactOrigin { lsn: Lsn(0x1_0000_0020), time: 9 }));
        assert_eq!(end.commit_timestamp(), 9);
    }

    #[test]
    fn a_commit_whose_time_at_the_origin_is_unknown_has_its_own() {
        let origin = Some(XactOrigin { lsn: Lsn(8), time: 0 });
        assert_eq!(XactEnd { time: 5, origin, ..XactEnd::default() }.commit_timestamp(), 5);
    }

    #[test]
    fn a_count_beyond_the_record_is_malformed() {
        let mut body = 5i64.to_le_bytes().to_vec();
        body.extend(xact::XINFO_HAS_SUBXACTS.to_le_bytes());
        body.extend(u32::MAX.to_le_bytes());
        let result = XactEnd::parse(&body, xact::HAS_INFO, PgMajor::V15);
        assert!(result.is_err());
    }
}
