use postgres_ffi::xlog::record::RawRecord;
use postgres_ffi::xlog::{WalBuilder, WalIdentity};
use proptest::prelude::*;

use super::*;

const IDENTITY: WalIdentity = WalIdentity { major: PgMajor::V15, system_id: 42 };

fn builder(start: u64) -> WalBuilder {
    WalBuilder::new(IDENTITY, Lsn(start), Lsn(0))
}

fn message(length: usize) -> RawRecord {
    RawRecord::logical_message("test", &vec![0xA5; length])
}

/// Decodes everything, feeding chunks of the given sizes in turn.
fn decode(start: Lsn, wal: &[u8], sizes: &[usize]) -> Result<Vec<(Lsn, Bytes)>, WalDecodeError> {
    let mut decoder = WalStreamDecoder::new(start, PgMajor::V15);
    let mut records = Vec::new();
    let mut rest = wal;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        assert_eq!(decoder.lsn(), start + (wal.len() - rest.len()) as u64);
        decoder.feed_bytes(chunk);
        while let Some(record) = decoder.poll_decode()? {
            records.push(record);
        }
        rest = later;
    }
    Ok(records)
}

#[test]
fn a_record_is_returned_with_the_position_after_it() {
    let mut wal = builder(0x100_0100);
    wal.append(&message(5));
    let records = decode(Lsn(0x100_0100), wal.bytes(), &[usize::MAX]).unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].0, wal.lsn());
}

#[test]
fn a_switch_leads_to_the_next_segment() {
    let mut wal = builder(0x100_0100);
    wal.append(&RawRecord::switch());
    wal.append(&message(5));
    let records = decode(Lsn(0x100_0100), wal.bytes(), &[4096]).unwrap();
    assert_eq!(records[0].0, Lsn(0x200_0000));
    assert_eq!(records.len(), 2);
}

#[test]
fn a_switch_that_ends_at_the_segment_end_skips_nothing() {
    let mut wal = builder(0x200_0000 - 24);
    wal.append(&RawRecord::switch());
    wal.append(&message(5));
    let records = decode(Lsn(0x200_0000 - 24), wal.bytes(), &[100]).unwrap();
    assert_eq!(records[0].0, Lsn(0x200_0000));
    assert_eq!(records.len(), 2);
}

#[test]
fn a_switch_over_a_segment_end_skips_the_segment_it_ends_in() {
    let mut wal = builder(0x200_0000 - 8);
    wal.append(&RawRecord::switch());
    wal.append(&message(5));
    let records = decode(Lsn(0x200_0000 - 8), wal.bytes(), &[1 << 20]).unwrap();
    assert_eq!(records[0].0, Lsn(0x300_0000));
    assert_eq!(records.len(), 2);
}

#[test]
fn a_record_that_ends_on_a_page_boundary_reports_the_boundary() {
    let length = message(0).to_bytes(Lsn(0)).len();
    let start = 0x100_4000 - length.next_multiple_of(8) as u64;
    let mut wal = builder(start);
    wal.append(&message(0));
    wal.append(&message(9));
    let records = decode(Lsn(start), wal.bytes(), &[17]).unwrap();
    assert_eq!(records[0].0, Lsn(0x100_4000));
    assert_eq!(records.len(), 2);
}

#[test]
fn an_abandoned_record_is_dropped() {
    let mut wal = builder(0x100_1F00);
    wal.append(&message(5));
    let abandoned_at = wal.lsn();
    assert!(wal.append_abandoned(&message(5000)));
    wal.append(&message(6));
    let mut decoder = WalStreamDecoder::new(Lsn(0x100_1F00), PgMajor::V15);
    decoder.feed_bytes(wal.bytes());
    assert!(decoder.poll_decode().unwrap().is_some());
    let (end, _) = decoder.poll_decode().unwrap().unwrap();
    assert_eq!(end, wal.lsn());
    assert_eq!(decoder.last_abandoned_record(), Some(abandoned_at));
}

#[test]
fn zeros_after_the_last_record_are_an_impossible_length() {
    let mut wal = builder(0x100_0100);
    wal.append(&message(5));
    let end = wal.lsn();
    let bytes = [wal.bytes(), &[0; 64]].concat();
    let error = decode(Lsn(0x100_0100), &bytes, &[8]).unwrap_err();
    assert_eq!(error, WalDecodeError::RecordLength { lsn: end, length: 0 });
}

#[test]
fn a_changed_byte_is_a_crc_mismatch() {
    let mut wal = builder(0x100_0100);
    wal.append(&message(50));
    let mut bytes = wal.bytes().to_vec();
    bytes[60] ^= 1;
    let error = decode(Lsn(0x100_0100), &bytes, &[usize::MAX]).unwrap_err();
    assert!(error.to_string().contains("crc mismatch"), "{error}");
    assert!(error.to_string().ends_with("at 0/1000100"), "{error}");
}

#[test]
fn a_page_of_another_cluster_version_is_refused() {
    let mut wal = builder(0x100_2000);
    wal.append(&message(5));
    let mut decoder = WalStreamDecoder::new(Lsn(0x100_2000), PgMajor::V17);
    decoder.feed_bytes(wal.bytes());
    assert!(matches!(decoder.poll_decode(), Err(WalDecodeError::PageHeader { .. })));
}

fn record_lengths() -> impl Strategy<Value = Vec<Option<usize>>> {
    let one = prop_oneof![
        8 => (0usize..300).prop_map(Some),
        4 => (300usize..9000).prop_map(Some),
        1 => (9000usize..40_000).prop_map(Some),
        1 => Just(None),
    ];
    prop::collection::vec(one, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunking_gives_the_records_that_were_written(
        lengths in record_lengths(),
        slot in 0u64..4096,
        near_segment_end in any::<bool>(),
        sizes in prop::collection::vec(1usize..20_000, 1..6),
    ) {
        let base = if near_segment_end { 0x200_0000 - 8192 } else { 0x100_0000 + 8192 };
        let start: u64 = base + slot * 8;
        prop_assume!(start.is_multiple_of(8192) || start % 8192 >= 40);
        let mut wal = builder(start);
        let mut expected = Vec::new();
        for length in lengths {
            let record = length.map_or_else(RawRecord::switch, message);
            let prev = wal.prev();
            wal.append(&record);
            expected.push((wal.lsn(), Bytes::from(record.to_bytes(prev))));
        }
        let records = decode(Lsn(start), wal.bytes(), &sizes).unwrap();
        prop_assert_eq!(records, expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..20_000),
        slot in 0u64..4096,
    ) {
        let _ = decode(Lsn(0x100_0000 + slot), &bytes, &[777]);
    }

    #[test]
    fn damage_never_panics(at in 0usize..30_000, value in any::<u8>()) {
        let mut wal = builder(0x100_2000);
        for _ in 0..3 {
            wal.append(&message(9000));
        }
        let mut bytes = wal.into_bytes();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = decode(Lsn(0x100_2000), &bytes, &[8192]);
    }
}
