use postgres_ffi::ForkNumber;
use postgres_ffi::xlog::record::RawRecord;
use proptest::prelude::*;

use super::*;

fn raw(body: &[u8]) -> Bytes {
    let record = RawRecord { xid: 700, info: 0x20, rmid: 10, body: body.to_vec() };
    Bytes::from(record.to_bytes(Lsn(0x100_0028)))
}

/// The record borrows its bytes; those of a few tests may as well live for ever.
fn decode_body(body: &[u8]) -> Result<DecodedRecord<'static>, RecordDecodeError> {
    decode(Box::leak(Box::new(raw(body))), PgMajor::V15)
}

fn location(rel: u32, block: u32) -> Vec<u8> {
    [1663u32, 5, rel, block].iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn header_members_are_taken_over() {
    let record = decode_body(&[255, 2, 0xAA, 0xBB]).unwrap();
    assert_eq!((record.xid, record.rmid, record.info), (700, 10, 0x20));
    assert_eq!(record.prev, Lsn(0x100_0028));
    assert_eq!(record.main_data[..], [0xAA, 0xBB]);
    assert!(record.blocks.is_empty());
}

#[test]
fn origin_and_toplevel_xid_are_found() {
    let record = decode_body(&[253, 7, 0, 252, 1, 2, 0, 0, 255, 1, 9]).unwrap();
    assert_eq!(record.origin_id, 7);
    assert_eq!(record.toplevel_xid, Some(0x201));
}

#[test]
fn a_second_block_may_share_the_relation() {
    let mut body = vec![0, 0x20, 2, 0];
    body.extend(location(16_384, 3));
    body.extend([1, 0x20 | 0x40 | 0x80 | 2, 1, 0, 4, 0, 0, 0]);
    body.extend([255, 1]);
    body.extend([1, 2, 3, 9]);
    let record = decode_body(&body).unwrap();
    assert_eq!(record.blocks[0].data[..], [1, 2]);
    assert_eq!(record.blocks[0].block, 3);
    let second = record.block_by_id(1).unwrap();
    assert_eq!((second.rel.relnode, second.rel.fork), (16_384, ForkNumber::VisibilityMap));
    assert_eq!((second.block, second.will_init), (4, true));
    assert_eq!(second.data[..], [3]);
    assert_eq!(record.main_data[..], [9]);
}

#[test]
fn an_uncompressed_image_gives_its_hole_length() {
    let mut body = vec![0, 0x10, 0, 0];
    body.extend([4, 0, 2, 0, 0x03]);
    body.extend(location(16_384, 0));
    body.extend([1, 2, 3, 4]);
    let image = decode_body(&body).unwrap().blocks.remove(0).image.unwrap();
    assert_eq!((image.hole_offset, image.hole_length), (2, 8188));
    assert_eq!(image.compression, ImageCompression::None);
    assert!(image.apply);
    assert_eq!(image.bytes[..], [1, 2, 3, 4]);
}

#[test]
fn a_compressed_image_with_a_hole_states_its_length() {
    let mut body = vec![0, 0x10, 0, 0];
    body.extend([4, 0, 100, 0, 0x01 | 0x08, 50, 0]);
    body.extend(location(16_384, 0));
    body.extend([1, 2, 3, 4]);
    let image = decode_body(&body).unwrap().blocks.remove(0).image.unwrap();
    assert_eq!(image.hole_length, 50);
    assert_eq!(image.compression, ImageCompression::Lz4);
    assert!(!image.apply);
}

#[test]
fn parts_share_the_records_memory() {
    let record = decode_body(&[255, 2, 0xAA, 0xBB]).unwrap();
    assert_eq!(record.main_data.as_ptr(), record.raw[26..].as_ptr());
}

#[test]
fn unknown_items_are_refused() {
    let error = decode_body(&[251, 0]).unwrap_err();
    assert_eq!(error, RecordDecodeError::UnknownBlockId { rmid: 10, info: 0x20, id: 251 });
}

#[test]
fn a_wrong_total_length_is_refused() {
    let bytes = raw(&[255, 0]);
    let cut = bytes.slice(..bytes.len() - 1);
    assert!(matches!(decode(&cut, PgMajor::V15), Err(RecordDecodeError::Length { .. })));
}

#[test]
fn surplus_bytes_are_refused() {
    assert!(matches!(
        decode_body(&[255, 1, 9, 9]),
        Err(RecordDecodeError::Surplus { surplus: 1, .. })
    ));
}

proptest! {
    #[test]
    fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_body(&body);
    }

    #[test]
    fn arbitrary_block_headers_never_panic(
        id in 0u8..34,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode_body(&[&[id], body.as_slice()].concat());
    }
}
