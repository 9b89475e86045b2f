use super::*;

fn pid_path() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.pid");
    (dir, path)
}

#[test]
fn a_missing_file_is_absent() {
    let (_dir, path) = pid_path();
    assert_eq!(read(&path).unwrap(), PidFileState::Absent);
}

#[test]
fn a_claimed_file_holds_exactly_the_pid() {
    let (_dir, path) = pid_path();
    let _guard = claim(&path).unwrap();
    let pid = std::process::id();
    assert_eq!(read(&path).unwrap(), PidFileState::Locked(pid as i32));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), pid.to_string());
}

#[test]
fn a_released_file_stays_and_is_stale() {
    let (_dir, path) = pid_path();
    drop(claim(&path).unwrap());
    assert!(path.exists());
    assert_eq!(read(&path).unwrap(), PidFileState::Stale);
}

#[test]
fn the_content_of_an_unlocked_file_is_ignored() {
    let (_dir, path) = pid_path();
    std::fs::write(&path, "not a number").unwrap();
    assert_eq!(read(&path).unwrap(), PidFileState::Stale);
}

#[test]
fn a_second_claim_fails_and_names_the_holder() {
    let (_dir, path) = pid_path();
    let _guard = claim(&path).unwrap();
    match claim(&path).unwrap_err() {
        PidFileError::AlreadyLocked { pid, .. } => {
            assert_eq!(pid, Some(std::process::id() as i32));
        }
        other => panic!("unexpected error {other}"),
    }
}

#[test]
fn a_claim_replaces_longer_old_content() {
    let (_dir, path) = pid_path();
    std::fs::write(&path, "12345678901234567890").unwrap();
    let _guard = claim(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
}

#[test]
fn a_locked_file_without_a_pid_is_malformed() {
    let (_dir, path) = pid_path();
    let mut guard = lock(&path).unwrap();
    assert_eq!(read(&path).unwrap(), PidFileState::Stale);
    guard.file.write_all(b"who knows").unwrap();
    assert!(matches!(read(&path), Err(PidFileError::Malformed { .. })));
}
