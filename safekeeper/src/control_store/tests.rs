use utils::{Lsn, TenantId, TenantTimelineId, TimelineId};
use wal_quorum::control_file::ServerInfo;

use super::*;

fn state() -> ControlFile {
    let ttid = TenantTimelineId::new(TenantId::generate(), TimelineId::generate());
    let server = ServerInfo { pg_version: 150018, system_id: 7, wal_seg_size: 16 << 20 };
    ControlFile::new(ttid, server, Lsn(0), Lsn(0))
}

fn temp_dir() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

#[test]
fn what_was_persisted_is_read_back() {
    let (_guard, dir) = temp_dir();
    let state = state();
    FileControlStore::new(&dir, Durability::Synced).persist(&state).unwrap();
    assert_eq!(read(&dir.join(CONTROL_FILE_NAME)).unwrap(), state);
}

#[test]
fn no_temporary_remains_after_persisting() {
    let (_guard, dir) = temp_dir();
    FileControlStore::new(&dir, Durability::Synced).persist(&state()).unwrap();
    assert!(!dir.join(CONTROL_FILE_TEMPORARY_NAME).exists());
}

#[test]
fn a_leftover_temporary_does_not_disturb() {
    let (_guard, dir) = temp_dir();
    fs::write(dir.join(CONTROL_FILE_TEMPORARY_NAME), b"half").unwrap();
    let state = state();
    FileControlStore::new(&dir, Durability::Synced).persist(&state).unwrap();
    assert_eq!(read(&dir.join(CONTROL_FILE_NAME)).unwrap(), state);
}

#[test]
fn a_truncated_file_is_refused_by_name() {
    let (_guard, dir) = temp_dir();
    FileControlStore::new(&dir, Durability::Synced).persist(&state()).unwrap();
    let path = dir.join(CONTROL_FILE_NAME);
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains(path.as_str()), "{error}");
    }
}
