use proptest::prelude::*;

use super::*;

fn encoded(content: &[u8], compression: Compression) -> Bytes {
    let mut out = Vec::new();
    encode(content, compression, &mut out).unwrap();
    out.into()
}

#[test]
fn short_blobs_have_a_one_byte_header() {
    assert_eq!(encoded(&[7; 127], Compression::None)[..2], [127, 7]);
    assert_eq!(encoded(&[], Compression::None)[..], [0]);
}

#[test]
fn long_blobs_have_a_four_byte_header() {
    assert_eq!(encoded(&[7; 128], Compression::None)[..5], [0x80, 0, 0, 128, 7]);
}

#[test]
fn compression_is_used_only_when_it_helps() {
    let zeros = encoded(&[0; 8192], Compression::Zstd(1));
    assert_eq!(zeros[0] >> 4, 9);
    assert!(zeros.len() < 100);
    let noise: Vec<u8> = (0..128u32).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8).collect();
    assert_eq!(encoded(&noise, Compression::Zstd(1))[0] >> 4, 8);
}

#[test]
fn unknown_compression_is_an_error() {
    let error = BlobHeader::parse(&[0xA0, 0, 0, 128]).unwrap_err();
    assert_eq!(error.to_string(), "unknown blob compression code 0xa");
}

#[test]
fn surplus_bytes_are_a_mismatch_with_the_index() {
    let error = decode(&Bytes::from_static(&[1, 2, 3])).unwrap_err();
    assert!(matches!(error, BlobError::LengthMismatch { header: 2, index: 3 }));
}

proptest! {
    #[test]
    fn any_content_round_trips(content: Vec<u8>, repeat in 1usize..40, zstd: bool) {
        let content = content.repeat(repeat);
        let compression = if zstd { Compression::Zstd(0) } else { Compression::None };
        prop_assert_eq!(decode(&encoded(&content, compression)).unwrap(), content);
    }

    #[test]
    fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
        let _ = decode(&bytes.into());
    }
}
