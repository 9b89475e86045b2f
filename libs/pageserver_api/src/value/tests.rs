//! Byte form of values.

use super::*;
use proptest::prelude::*;

fn check(value: Value, hex_bytes: &str) {
    let bytes = Bytes::from(hex::decode(hex_bytes.replace(' ', "")).unwrap());
    assert_eq!(value.to_bytes(), bytes);
    assert_eq!(Value::encoded_will_init(&bytes), Ok(value.will_init()));
    assert_eq!(Value::decode(&bytes), Ok(value));
}

#[test]
fn the_shortest_record_says_whether_it_initialises() {
    let record =
        WalRecord::ClearVisibilityMapFlags { new_heap_block: None, old_heap_block: None, flags: 0 };
    let bytes = Value::WalRecord(record).to_bytes();
    assert_eq!(bytes.len(), 11);
    assert_eq!(Value::encoded_will_init(&bytes), Ok(false));
}

#[test]
fn image_bytes() {
    let image = Value::Image(Bytes::from_static(&[0xaa, 0xbb, 0xcc]));
    check(image, "00000000 0000000000000003 aabbcc");
}

#[test]
fn postgres_record_bytes() {
    let record = Bytes::from_static(&[1, 2]);
    let value = Value::WalRecord(WalRecord::Postgres { will_init: true, record });
    check(value, "00000001 00000000 01 0000000000000002 0102");
}

#[test]
fn aborted_record_bytes() {
    let value = Value::WalRecord(WalRecord::ClogSetAborted { xids: vec![700] });
    check(value, "00000001 00000003 0000000000000001 000002bc");
}

#[test]
fn offsets_record_bytes() {
    let value =
        Value::WalRecord(WalRecord::MultixactOffsetsCreate { entries: vec![(1, 1), (2, 4)] });
    check(value, "00000001 00000008 0000000000000002 00000001 00000001 00000002 00000004");
}

#[test]
fn an_absurd_count_does_not_allocate() {
    let mut bytes = BytesMut::new();
    bytes.put_u32(1);
    bytes.put_u32(3);
    bytes.put_u64(u64::MAX / 2);
    assert!(Value::decode(&bytes.freeze()).is_err());
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let _ = Value::encoded_will_init(&bytes);
        if let Ok(value) = Value::decode(&bytes) {
            prop_assert_eq!(Value::decode(&value.to_bytes()), Ok(value));
        }
    }
}
