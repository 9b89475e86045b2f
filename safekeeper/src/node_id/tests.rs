use super::*;

fn temp_dir() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

#[test]
fn the_first_start_stores_the_id_without_a_newline() {
    let (_guard, dir) = temp_dir();
    assert_eq!(read_or_create(&dir, Some(NodeId(7))).unwrap(), NodeId(7));
    assert_eq!(fs::read(dir.join(NODE_ID_FILE)).unwrap(), b"7");
    assert_eq!(read_or_create(&dir, None).unwrap(), NodeId(7));
}

#[test]
fn the_first_start_needs_an_id() {
    let (_guard, dir) = temp_dir();
    assert!(matches!(read_or_create(&dir, None), Err(NodeIdError::Missing { .. })));
}

#[test]
fn another_id_is_refused() {
    let (_guard, dir) = temp_dir();
    read_or_create(&dir, Some(NodeId(7))).unwrap();
    let error = read_or_create(&dir, Some(NodeId(8))).unwrap_err().to_string();
    assert!(error.contains("--id is 8") && error.contains("safekeeper 7"), "{error}");
}

#[test]
fn a_file_that_is_not_a_number_is_refused() {
    let (_guard, dir) = temp_dir();
    for content in ["", "7\n", "x", "-1"] {
        fs::write(dir.join(NODE_ID_FILE), content).unwrap();
        let error = read_or_create(&dir, Some(NodeId(7))).unwrap_err();
        assert!(matches!(error, NodeIdError::Malformed { .. }), "{content:?}");
    }
}
