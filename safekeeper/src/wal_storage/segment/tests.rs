use std::fs;

use super::super::testing::*;
use super::*;

fn put(dir: &TestDir, name: &str, content: &[u8]) {
    fs::write(dir.path.join(name), content).unwrap();
}

fn content(file: Option<Box<dyn DiskFile>>) -> Vec<u8> {
    let mut bytes = vec![0; SEGMENT_SIZE as usize + 1];
    let count = file.unwrap().read_at(&mut bytes, 0).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn a_new_segment_is_full_of_zeros_and_leaves_no_temporary() {
    let dir = TestDir::new();
    let segment = dir.segments().open_or_create(3).unwrap();
    assert!(!segment.complete);
    assert_eq!(dir.file_names(), ["000000010000000000000003.partial"]);
    let bytes = content(dir.segments().open_for_read(3).unwrap());
    assert_eq!(bytes.len() as u64, SEGMENT_SIZE);
    assert!(bytes.iter().all(|byte| *byte == 0));
}

#[test]
fn readers_prefer_the_incomplete_segment() {
    let dir = TestDir::new();
    put(&dir, "000000010000000000000003", b"complete");
    put(&dir, "000000010000000000000003.partial", b"partial");
    assert_eq!(content(dir.segments().open_for_read(3).unwrap()), b"partial");
}

#[test]
fn writers_prefer_the_complete_segment() {
    let dir = TestDir::new();
    put(&dir, "000000010000000000000003", b"complete");
    put(&dir, "000000010000000000000003.partial", b"partial");
    assert!(dir.segments().open_for_write(3).unwrap().unwrap().complete);
}

#[test]
fn a_missing_segment_is_not_an_error() {
    let dir = TestDir::new();
    assert!(dir.segments().open_for_read(3).unwrap().is_none());
    assert!(dir.segments().open_for_write(3).unwrap().is_none());
}

#[test]
fn other_files_are_not_segments() {
    let dir = TestDir::new();
    for name in ["safekeeper.control", "waltmp", "00000001000000000000000", "x.partial"] {
        put(&dir, name, b"");
    }
    assert_eq!(dir.segments().list().unwrap(), []);
}

#[test]
fn removal_up_to_a_segment_spares_later_ones_and_other_files() {
    let dir = TestDir::new();
    for name in [
        "000000010000000000000001",
        "000000010000000000000002",
        "000000010000000000000003",
        "000000010000000000000004.partial",
        "safekeeper.control",
    ] {
        put(&dir, name, b"");
    }
    assert_eq!(dir.segments().remove_up_to(2).unwrap(), 2);
    assert_eq!(dir.segments().remove_up_to(2).unwrap(), 0);
    let left =
        ["000000010000000000000003", "000000010000000000000004.partial", "safekeeper.control"];
    assert_eq!(dir.file_names(), left);
}

#[test]
fn removal_above_a_segment_spares_it() {
    let dir = TestDir::new();
    for name in ["000000010000000000000001", "000000010000000000000002.partial"] {
        put(&dir, name, b"");
    }
    assert_eq!(dir.segments().remove_above(1).unwrap(), 1);
    assert_eq!(dir.file_names(), ["000000010000000000000001"]);
}

#[cfg(feature = "testing")]
#[test]
fn a_failed_creation_leaves_nothing_behind() {
    let dir = TestDir::new();
    let scenario = fail::FailScenario::setup();
    fail::cfg("sk-write-zeroes", "return").unwrap();
    let failed = dir.segments().open_or_create(3);
    scenario.teardown();
    assert!(matches!(failed, Err(WalStorageError::Failpoint(_))), "{failed:?}");
    assert_eq!(dir.file_names(), Vec::<String>::new());
}
