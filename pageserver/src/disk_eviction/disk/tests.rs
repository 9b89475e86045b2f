use super::*;
use crate::config::{DiskUsageEvictionConfig, MockedError};

fn usage(total_bytes: u64, avail_bytes: u64) -> DiskUsage {
    DiskUsage { total_bytes, avail_bytes, max_usage_pct: 80, min_avail_bytes: 100 }
}

#[test]
fn pressure_begins_at_the_percentage() {
    assert!(!usage(100_000, 20_001).has_pressure());
    assert!(usage(100_000, 20_000).has_pressure());
    assert!(!usage(100_000, 20_000).with_freed(1).has_pressure());
}

#[test]
fn pressure_begins_below_the_minimum() {
    assert!(usage(200, 99).has_pressure());
    assert!(!usage(200, 100).has_pressure());
}

fn with_mock(mock: MockStatvfs) -> DiskUsageEvictionConfig {
    DiskUsageEvictionConfig { mock_statvfs: Some(mock), ..DiskUsageEvictionConfig::default() }
}

#[test]
fn a_mocked_disk_counts_the_files_that_match() {
    let directory = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(directory.path()).unwrap();
    std::fs::create_dir(path.join("deep")).unwrap();
    std::fs::write(path.join("deep/layer__1"), [0; 1000]).unwrap();
    std::fs::write(path.join("other"), [0; 1000]).unwrap();
    let name_filter = Some(".*__.*".to_owned());
    let mock = MockStatvfs::Success { blocksize: 512, total_blocks: 10, name_filter };
    let usage = DiskUsage::measure(path, &with_mock(mock)).unwrap();
    assert_eq!((usage.total_bytes, usage.avail_bytes), (5120, 4096));
}

#[test]
fn a_mocked_failure_names_the_error() {
    let mock = MockStatvfs::Failure { mocked_error: MockedError::Eio };
    let error = DiskUsage::measure("/".into(), &with_mock(mock)).unwrap_err().to_string();
    assert!(error.contains("statvfs failed") && error.contains("EIO"), "{error}");
}

#[test]
fn the_real_disk_has_a_size() {
    let usage = DiskUsage::measure("/".into(), &DiskUsageEvictionConfig::default()).unwrap();
    assert!(usage.total_bytes > usage.avail_bytes);
}
