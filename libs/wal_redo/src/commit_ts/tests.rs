use bytes::Bytes;
use postgres_ffi::xlog::RawRecord;
use utils::Lsn;
use wal_decoder::record::decode;

use super::*;

const MAJOR: PgMajor = PgMajor::V17;
const TIME: i64 = 0x0102_0304_0506_0708;

/// The main data of a commit of these subtransactions.
fn body(xinfo: u32, subxids: &[u32], rest: &[u8]) -> Vec<u8> {
    let mut body = TIME.to_le_bytes().to_vec();
    body.extend((xinfo | xact::XINFO_HAS_SUBXACTS).to_le_bytes());
    body.extend((subxids.len() as u32).to_le_bytes());
    body.extend(subxids.iter().flat_map(|xid| xid.to_le_bytes()));
    body.extend(rest);
    body
}

fn apply(page_number: u32, record: RawRecord) -> Result<[u8; BLCKSZ], RedoFailure> {
    let raw = Bytes::from(record.to_bytes(Lsn(0)));
    let mut page = [0; BLCKSZ];
    set_commit_timestamps(&mut page, page_number, &decode(&raw, MAJOR).unwrap(), MAJOR)?;
    Ok(page)
}

fn commit(xid: u32, xinfo: u32, subxids: &[u32], rest: &[u8]) -> RawRecord {
    let info = xact::COMMIT | xact::HAS_INFO;
    RawRecord::with_main_data(rmgr::XACT, info, xid, &body(xinfo, subxids, rest))
}

/// The entries that are set: their numbers, times and origins.
fn entries(page: &[u8; BLCKSZ]) -> Vec<(u32, i64, u16)> {
    let entry = |bytes: &[u8]| {
        let (time, origin) = bytes.split_at(8);
        let time = i64::from_le_bytes(time.try_into().unwrap());
        (time, u16::from_le_bytes(origin.try_into().unwrap()))
    };
    let all = (0..).zip(page.chunks_exact(10).map(entry));
    all.filter(|(_, entry)| *entry != (0, 0)).map(|(n, (time, origin))| (n, time, origin)).collect()
}

#[test]
fn only_the_transactions_of_the_page_are_set() {
    let record = commit(817, 0, &[818, 819, 1638], &[]);
    assert_eq!(entries(&apply(0, record.clone()).unwrap()), [(817, TIME, 0), (818, TIME, 0)]);
    assert_eq!(entries(&apply(1, record.clone()).unwrap()), [(0, TIME, 0)]);
    assert_eq!(entries(&apply(2, record.clone()).unwrap()), [(0, TIME, 0)]);
    assert_eq!(entries(&apply(3, record).unwrap()), []);
}

#[test]
fn a_replicated_transaction_has_its_origin_and_the_time_there() {
    let origin = [0x100u64.to_le_bytes(), 77u64.to_le_bytes()].concat();
    let record = commit(5, xact::XINFO_HAS_ORIGIN, &[], &origin).with_origin(9);
    assert_eq!(entries(&apply(0, record).unwrap()), [(5, 77, 9)]);
}

#[test]
fn the_end_of_a_prepared_transaction_sets_its_own_entry() {
    let prepared = 700u32.to_le_bytes();
    let body = body(xact::XINFO_HAS_TWOPHASE, &[701], &prepared);
    let info = xact::COMMIT_PREPARED | xact::HAS_INFO;
    let record = RawRecord::with_main_data(rmgr::XACT, info, 0, &body);
    assert_eq!(entries(&apply(0, record).unwrap()), [(700, TIME, 0), (701, TIME, 0)]);
}

#[test]
fn other_records_are_refused() {
    for (rmid, info) in [(rmgr::XACT, xact::ABORT), (rmgr::HEAP, 0)] {
        let record = RawRecord::with_main_data(rmid, info, 5, &TIME.to_le_bytes());
        assert_eq!(apply(0, record), Err(RedoFailure::Unsupported));
    }
    let nameless = RawRecord::with_main_data(rmgr::XACT, xact::COMMIT_PREPARED, 5, &[0; 8]);
    assert_eq!(apply(0, nameless), Err(RedoFailure::BadRecord("no prepared transaction")));
    let short = RawRecord::with_main_data(rmgr::XACT, xact::COMMIT, 5, &[0; 7]);
    let failure = RedoFailure::Truncated { what: "transaction time", needed: 1 };
    assert_eq!(apply(0, short), Err(failure));
}
