use proptest::prelude::*;

use super::*;

fn synthetic(version: u32, crc_offset: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; CONTROL_FILE_SIZE];
    write(&mut bytes, PG_CONTROL_VERSION, &version.to_le_bytes());
    write(&mut bytes, SYSTEM_IDENTIFIER, &77u64.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..crc_offset]);
    write(&mut bytes, crc_offset, &crc.to_le_bytes());
    bytes
}

#[test]
fn every_version_parses_and_serialises_unchanged() {
    for (version, crc_offset) in [(1300, 288), (1700, 288), (1800, 292)] {
        let bytes = synthetic(version, crc_offset);
        let file = ControlFile::parse(&bytes).unwrap();
        assert_eq!(file.system_identifier(), 77);
        assert_eq!(file.to_bytes(), bytes);
    }
}

#[test]
fn a_damaged_file_is_refused() {
    let mut bytes = synthetic(1300, 288);
    bytes[100] ^= 1;
    assert!(matches!(ControlFile::parse(&bytes), Err(ControlFileError::BadCrc { .. })));
}

#[test]
fn an_unknown_version_is_refused() {
    let bytes = synthetic(1201, 288);
    assert_eq!(ControlFile::parse(&bytes), Err(ControlFileError::UnknownVersion(1201)));
}

#[test]
fn a_clean_shutdown_survives_serialisation() {
    let mut file = ControlFile::parse(&synthetic(1800, 292)).unwrap();
    let checkpoint = CheckPoint { redo: Lsn(0x1000028), next_xid: 1024, ..CheckPoint::default() };
    file.set_min_recovery_point(Lsn(5), 1);
    file.set_clean_shutdown(Lsn(0x1000028), &checkpoint);
    let again = ControlFile::parse(&file.to_bytes()).unwrap();
    assert_eq!(again.state(), DB_SHUTDOWNED);
    assert_eq!(again.checkpoint_lsn(), Lsn(0x1000028));
    assert_eq!(again.checkpoint(), checkpoint);
    assert_eq!(again.min_recovery_point(), Lsn::INVALID);
}

#[test]
fn whether_commit_timestamps_are_recorded_survives_serialisation() {
    let mut file = ControlFile::parse(&synthetic(1700, 288)).unwrap();
    assert!(!file.track_commit_timestamp());
    file.set_track_commit_timestamp(true);
    assert!(ControlFile::parse(&file.to_bytes()).unwrap().track_commit_timestamp());
    file.set_track_commit_timestamp(false);
    assert_eq!(file.to_bytes(), synthetic(1700, 288));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ControlFile::parse(&bytes);
    }
}
