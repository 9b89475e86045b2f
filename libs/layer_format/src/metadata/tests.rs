use proptest::prelude::*;

use super::*;

fn check(metadata: &TimelineMetadata, prefix: &str) {
    let bytes = metadata.to_bytes();
    let expected = hex::decode(prefix.replace(' ', "")).unwrap();
    assert_eq!(hex::encode(&bytes[..expected.len()]), hex::encode(&expected));
    assert_eq!(&TimelineMetadata::from_bytes(&bytes).unwrap(), metadata);
}

fn plain() -> TimelineMetadata {
    TimelineMetadata {
        disk_consistent_lsn: Lsn(0x200),
        prev_record_lsn: Some(Lsn(0x100)),
        ancestor_timeline: None,
        ancestor_lsn: Lsn(0),
        latest_gc_cutoff_lsn: Lsn(0),
        initdb_lsn: Lsn(0),
        pg_version: 15,
    }
}

#[test]
fn metadata_with_an_ancestor_has_the_documented_header() {
    let ancestor_timeline = Some("11223344556677881122334455667788".parse().unwrap());
    check(&TimelineMetadata { ancestor_timeline, ..plain() }, "04256522 0046 0004");
}

#[test]
fn metadata_without_an_ancestor_has_the_documented_bytes() {
    check(
        &plain(),
        "b6b12f54 0036 0004 0000000000000200 01 0000000000000100 00 0000000000000000
         0000000000000000 0000000000000000 0000000f"
            .replace('\n', "")
            .as_str(),
    );
}

#[test]
fn metadata_of_a_branch_has_the_documented_bytes() {
    let metadata = TimelineMetadata {
        disk_consistent_lsn: Lsn(0x16960E8),
        prev_record_lsn: None,
        ancestor_timeline: Some("00112233445566778899aabbccddeeff".parse().unwrap()),
        ancestor_lsn: Lsn(0x1696000),
        latest_gc_cutoff_lsn: Lsn(0x1695000),
        initdb_lsn: Lsn(0x14EE150),
        pg_version: 16,
    };
    check(
        &metadata,
        "65d5895a 003e 0004 00000000016960e8 00 01 00112233445566778899aabbccddeeff
         0000000001696000 0000000001695000 00000000014ee150 00000010"
            .replace('\n', "")
            .as_str(),
    );
}

#[test]
fn a_wrong_length_is_refused() {
    let error = TimelineMetadata::from_bytes(&[0; 511]).unwrap_err();
    assert_eq!(error, MetadataError::WrongLength(511));
}

#[test]
fn an_oversized_size_field_is_refused_before_the_checksum() {
    let mut bytes = plain().to_bytes();
    bytes[4..6].copy_from_slice(&513u16.to_be_bytes());
    assert_eq!(TimelineMetadata::from_bytes(&bytes), Err(MetadataError::Corrupted(513)));
}

#[test]
fn a_flipped_bit_is_a_checksum_mismatch() {
    let mut bytes = plain().to_bytes();
    bytes[20] ^= 1;
    let error = TimelineMetadata::from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, MetadataError::Checksum { .. }), "{error}");
}

#[test]
fn an_unknown_version_is_refused() {
    let mut bytes = plain().to_bytes();
    bytes[7] = 9;
    assert_eq!(TimelineMetadata::from_bytes(&bytes), Err(MetadataError::UnsupportedVersion(9)));
}

#[test]
fn version_three_means_postgresql_fourteen() {
    let mut bytes = plain().to_bytes();
    let size = u16::from_be_bytes([bytes[4], bytes[5]]) - 4;
    bytes[4..6].copy_from_slice(&size.to_be_bytes());
    bytes[7] = 3;
    let checksum = crc32c::crc32c(&bytes[8..usize::from(size)]);
    bytes[..4].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(TimelineMetadata::from_bytes(&bytes).unwrap().pg_version, 14);
}

#[test]
fn an_unaligned_consistent_lsn_is_refused() {
    let metadata = TimelineMetadata { disk_consistent_lsn: Lsn(0x201), ..plain() };
    let error = TimelineMetadata::from_bytes(&metadata.to_bytes()).unwrap_err();
    assert_eq!(error, MetadataError::Unaligned(Lsn(0x201)));
}

proptest! {
    #[test]
    fn any_metadata_survives_the_binary_form(
        lsns: [u64; 4], prev: Option<u64>, ancestor: Option<[u8; 16]>, pg_version: u32,
    ) {
        let metadata = TimelineMetadata {
            disk_consistent_lsn: Lsn(lsns[0] & !7),
            prev_record_lsn: prev.map(Lsn),
            ancestor_timeline: ancestor.map(TimelineId::from_bytes),
            ancestor_lsn: Lsn(lsns[1]),
            latest_gc_cutoff_lsn: Lsn(lsns[2]),
            initdb_lsn: Lsn(lsns[3]),
            pg_version,
        };
        prop_assert_eq!(TimelineMetadata::from_bytes(&metadata.to_bytes()), Ok(metadata));
    }

    #[test]
    fn any_bytes_with_a_right_checksum_do_not_panic(mut body: Vec<u8>, version in 0u16..6) {
        body.truncate(METADATA_SIZE - HEADER_SIZE);
        let mut bytes = vec![0; METADATA_SIZE];
        bytes[..4].copy_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        bytes[4..6].copy_from_slice(&((body.len() + HEADER_SIZE) as u16).to_be_bytes());
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        bytes[8..8 + body.len()].copy_from_slice(&body);
        let _ = TimelineMetadata::from_bytes(&bytes);
    }
}
