use super::*;
use crate::version::PgMajor;
use crate::xlog::page_header::PageHeader;
use crate::xlog::record::{RecordHeader, record_crc};

const IDENTITY: WalIdentity = WalIdentity { major: PgMajor::V15, system_id: 9 };

#[test]
fn a_record_on_one_page_is_contiguous_and_padded() {
    let mut builder = WalBuilder::new(IDENTITY, Lsn(0x100_0100), Lsn(0x100_0028));
    let start = builder.append(&RawRecord::logical_message("p", b"hello"));
    assert_eq!(start, Lsn(0x100_0100));
    let header = RecordHeader::parse(builder.bytes()).unwrap();
    assert_eq!(header.prev, Lsn(0x100_0028));
    let record = &builder.bytes()[..header.total_length as usize];
    assert_eq!(header.crc, record_crc(record));
    assert_eq!(builder.bytes().len() % 8, 0);
}

#[test]
fn a_record_over_a_page_end_continues_after_the_next_header() {
    let mut builder = WalBuilder::new(IDENTITY, Lsn(0x100_2000 - 32), Lsn(0));
    let record = RawRecord::logical_message("p", &[7; 100]);
    let length = record.to_bytes(Lsn(0)).len();
    builder.append(&record);
    let header = PageHeader::parse(&builder.bytes()[32..], Lsn(0x100_2000), 0xD110).unwrap();
    assert_eq!(header.remaining_length as usize, length - 32);
    assert!(header.is_continuation());
}

#[test]
fn a_record_at_a_segment_start_follows_the_long_header() {
    let mut builder = WalBuilder::new(IDENTITY, Lsn(0x200_0000), Lsn(0));
    assert_eq!(builder.append(&RawRecord::switch()), Lsn(0x200_0028));
    assert_eq!(builder.lsn(), Lsn(0x300_0000));
}
