//! Any bytes taken for a WAL stream, fed in pieces: no panic, positions only rise, and
//! feeding in one piece gives the same records.
#![no_main]

use fuzz::{WAL_START, pieces, split_major};
use libfuzzer_sys::fuzz_target;
use postgres_ffi::PgMajor;
use utils::Lsn;
use wal_decoder::WalStreamDecoder;

fn records(major: PgMajor, chunks: &[&[u8]]) -> (Vec<(Lsn, Vec<u8>)>, bool) {
    let mut decoder = WalStreamDecoder::new(WAL_START, major);
    let mut records: Vec<(Lsn, Vec<u8>)> = Vec::new();
    for chunk in chunks {
        decoder.feed_bytes(chunk);
        loop {
            match decoder.poll_decode() {
                Ok(Some((lsn, record))) => {
                    let last = records.last().map_or(WAL_START, |(lsn, _)| *lsn);
                    assert!(lsn > last, "record ends at {lsn}, the one before at {last}");
                    let _ = wal_decoder::record::decode(&record, major);
                    records.push((lsn, record.to_vec()));
                }
                Ok(None) => break,
                Err(_) => return (records, true),
            }
        }
    }
    (records, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((major, rest)) = split_major(data) else { return };
    let chunks = pieces(rest);
    let whole = chunks.concat();
    let (in_pieces, failed) = records(major, &chunks);
    let (at_once, failed_at_once) = records(major, &[&whole]);
    assert_eq!(in_pieces, at_once);
    assert_eq!(failed, failed_at_once);
});
