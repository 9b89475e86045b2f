use super::*;

const SEGMENT: u64 = 16 << 20;

#[test]
fn a_chunk_ends_where_the_wal_does() {
    assert_eq!(chunk_end(Lsn(1000), Lsn(1100)), Lsn(1100));
    assert_eq!(chunk_end(Lsn(1000), Lsn(1000 + MAX_CHUNK_BYTES)), Lsn(1000 + MAX_CHUNK_BYTES));
}

#[test]
fn a_full_chunk_ends_on_a_page_boundary() {
    assert_eq!(chunk_end(Lsn(1000), Lsn(10_000_000)), Lsn(MAX_CHUNK_BYTES));
    assert_eq!(chunk_end(Lsn(8192), Lsn(10_000_000)), Lsn(8192 + MAX_CHUNK_BYTES));
}

#[test]
fn a_chunk_never_enters_the_next_segment() {
    assert_eq!(chunk_end(Lsn(SEGMENT - 100), Lsn(3 * SEGMENT)), Lsn(SEGMENT));
    assert_eq!(chunk_end(Lsn(SEGMENT - 8192), Lsn(SEGMENT + 10)), Lsn(SEGMENT));
}

#[test]
fn every_chunk_makes_progress() {
    let mut position = Lsn(3);
    let end = Lsn(2 * SEGMENT + 77);
    while position < end {
        let next = chunk_end(position, end);
        assert!(next > position && next <= end);
        position = next;
    }
}
