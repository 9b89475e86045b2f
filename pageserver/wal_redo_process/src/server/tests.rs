use postgres_ffi::xlog::RawRecord;
use postgres_ffi::{ForkNumber, RelTag};

use super::*;
use crate::protocol::{encode_ping, encode_request};

const TAG: PageTag = PageTag {
    rel: RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main },
    block: 0,
};

fn answers(input: &[u8]) -> Result<Vec<u8>, ServeError> {
    let mut output = Vec::new();
    serve(input, &mut output, PgMajor::V15).map(|()| output)
}

#[test]
fn a_base_page_without_records_comes_back() {
    let page = vec![7; BLCKSZ];
    assert_eq!(answers(&encode_request(TAG, Some(&page), &[])).unwrap(), page);
}

#[test]
fn a_page_that_was_never_pushed_is_zero_again_in_the_next_request() {
    let page = vec![7; BLCKSZ];
    let both = [encode_request(TAG, Some(&page), &[]), encode_request(TAG, None, &[])].concat();
    let output = answers(&both).unwrap();
    assert_eq!(output[BLCKSZ..], vec![0; BLCKSZ]);
}

#[test]
fn a_ping_is_echoed() {
    assert_eq!(answers(&encode_ping(&[3; BLCKSZ])).unwrap(), [3; BLCKSZ]);
}

#[test]
fn input_may_end_only_between_messages() {
    let request = encode_request(TAG, None, &[]);
    let result = answers(&request[..request.len() - 1]);
    assert!(matches!(result, Err(ServeError::IncompleteMessage(_))), "{result:?}");
}

#[test]
fn a_page_of_another_request_is_refused() {
    let begin = &encode_request(TAG, None, &[])[..22];
    let other = PageTag { block: 1, ..TAG };
    let get = &encode_request(other, None, &[])[22..];
    let result = answers(&[begin, get].concat());
    assert!(matches!(result, Err(ServeError::OtherPage { .. })), "{result:?}");
}

#[test]
fn a_record_without_a_begun_page_is_refused() {
    let request = encode_request(TAG, None, &[(Lsn(8), Bytes::from_static(b"record"))]);
    let result = answers(&request[22..]);
    assert!(matches!(result, Err(ServeError::NothingBegun("A"))), "{result:?}");
}

#[test]
fn a_record_that_is_none_ends_the_process() {
    let request = encode_request(TAG, None, &[(Lsn(8), Bytes::from_static(b"record"))]);
    assert!(matches!(answers(&request), Err(ServeError::Decode { .. })));
}

#[test]
fn a_record_of_another_block_leaves_the_page_alone() {
    let record = RawRecord::with_main_data(10, 0, 0, &[]);
    let raw = Bytes::from(record.to_bytes(Lsn(0)));
    let output = answers(&encode_request(TAG, None, &[(Lsn(64), raw)])).unwrap();
    assert_eq!(output, vec![0; BLCKSZ]);
}
