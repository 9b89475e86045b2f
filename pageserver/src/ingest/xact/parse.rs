//! The body of commit and abort records: parts that flags announce, in a fixed order.

use postgres_ffi::pg_constants::xact;
use postgres_ffi::{LeReader, PgMajor, RelTag};
use utils::Lsn;

use super::super::IngestErrorKind;
use super::super::smgr::read_rel;

const INVALIDATION_MESSAGE_SIZE: usize = 16;

/// What ingest needs of a commit or abort record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct XactEnd {
    /// Microseconds since 2000-01-01.
    pub time: i64,
    pub subxids: Vec<u32>,
    /// Main forks of dropped relations.
    pub dropped: Vec<RelTag>,
    two_phase_xid: Option<u32>,
    pub origin_lsn: Option<Lsn>,
}

impl XactEnd {
    pub(super) fn parse(
        main_data: &[u8],
        info: u8,
        major: PgMajor,
    ) -> Result<XactEnd, IngestErrorKind> {
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
                end.dropped.push(read_rel(&mut body)?);
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
            end.origin_lsn = Some(Lsn(body.u64("origin position")?));
        }
        Ok(end)
    }

    /// The prepared transaction that ends; the record of its end must name it.
    pub(super) fn two_phase_xid(&self) -> Result<u32, IngestErrorKind> {
        self.two_phase_xid
            .ok_or(IngestErrorKind::OutOfRange { what: "prepared transaction", value: 0 })
    }
}

fn stats_item_size(major: PgMajor) -> usize {
    match major {
        PgMajor::V15 | PgMajor::V16 | PgMajor::V17 => 12,
        PgMajor::V18 => 16,
    }
}

fn skip_items(
    body: &mut LeReader,
    item_size: usize,
    what: &'static str,
) -> Result<(), IngestErrorKind> {
    let count = body.u32(what)?;
    let length = (count as usize).checked_mul(item_size);
    let length = length.ok_or(IngestErrorKind::OutOfRange { what, value: u64::from(count) })?;
    Ok(body.skip(length, what)?)
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
        assert_eq!(end.two_phase_xid().unwrap(), 700);
        assert_eq!(end.origin_lsn, Some(Lsn(0x1_0000_0020)));
    }

    #[test]
    fn a_count_beyond_the_record_is_malformed() {
        let mut body = 5i64.to_le_bytes().to_vec();
        body.extend(xact::XINFO_HAS_SUBXACTS.to_le_bytes());
        body.extend(u32::MAX.to_le_bytes());
        let result = XactEnd::parse(&body, xact::HAS_INFO, PgMajor::V15);
        assert!(matches!(result, Err(IngestErrorKind::Malformed(_))));
    }
}
