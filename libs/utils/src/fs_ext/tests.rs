use super::*;

#[test]
fn crash_safe_write_creates_and_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    write_crash_safe(&path, b"one").unwrap();
    write_crash_safe(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn crash_safe_write_survives_a_leftover_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(dir.path().join("file.___temp"), b"half written").unwrap();
    write_crash_safe(&path, b"whole").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"whole");
}

#[test]
fn crash_safe_write_keeps_the_old_content_when_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    write_crash_safe(&path, b"old").unwrap();
    let temp_in_missing_dir = dir.path().join("missing").join("temp");
    let error = write_crash_safe_via(&path, &temp_in_missing_dir, b"new").unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn rename_refuses_to_replace() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, b"new").unwrap();
    fs::write(&to, b"old").unwrap();
    assert!(rename_noreplace(&from, &to).unwrap_err().is_already_exists());
    assert_eq!(fs::read(&to).unwrap(), b"old");

    fs::remove_file(&to).unwrap();
    rename_noreplace(&from, &to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"new");
}

#[test]
fn a_directory_with_an_entry_is_not_empty() {
    let dir = tempfile::tempdir().unwrap();
    assert!(is_dir_empty(dir.path()).unwrap());
    fs::create_dir(dir.path().join("sub")).unwrap();
    assert!(!is_dir_empty(dir.path()).unwrap());
}

#[test]
fn errors_name_the_operation_and_the_path() {
    let error = fsync_file(Path::new("/nonexistent/file")).unwrap_err();
    assert!(error.to_string().contains("open \"/nonexistent/file\""), "{error}");
}
