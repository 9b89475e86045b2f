use super::*;

fn tar_of(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        // Written by hand: the builder itself refuses paths that lead outside.
        let name = &mut header.as_gnu_mut().unwrap().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

async fn unpacked(tar: Vec<u8>) -> (tempfile::TempDir, Result<Backup, BackupError>) {
    let directory = tempfile::tempdir().unwrap();
    let target = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
    let board = Arc::new(StatusBoard::default());
    let outcome = unpack(io::Cursor::new(tar), target, board).await;
    (directory, outcome)
}

const FILE: tar::EntryType = tar::EntryType::Regular;
const DIRECTORY: tar::EntryType = tar::EntryType::Directory;

#[tokio::test]
async fn the_control_file_is_held_back() {
    let tar = tar_of(&[
        ("global", DIRECTORY, b""),
        ("PG_VERSION", FILE, b"15\n"),
        (CONTROL_FILE, FILE, b"control"),
    ]);
    let (directory, backup) = unpacked(tar).await;
    assert_eq!(backup.unwrap().control_file, b"control");
    assert!(directory.path().join("PG_VERSION").exists());
    assert!(!directory.path().join(CONTROL_FILE).exists());
}

#[tokio::test]
async fn parents_are_made_and_wal_segments_are_listed() {
    let tar =
        tar_of(&[("pg_wal/000000010000000000000001", FILE, b"w"), (CONTROL_FILE, FILE, b"c")]);
    let (directory, backup) = unpacked(tar).await;
    assert_eq!(backup.unwrap().wal_segments, ["pg_wal/000000010000000000000001"]);
    assert!(directory.path().join("pg_wal/000000010000000000000001").exists());
}

#[tokio::test]
async fn a_backup_without_control_file_is_refused() {
    let (_directory, backup) = unpacked(tar_of(&[("PG_VERSION", FILE, b"15\n")])).await;
    assert!(matches!(backup, Err(BackupError::NoControlFile)));
}

#[tokio::test]
async fn a_truncated_backup_is_refused() {
    let mut tar = tar_of(&[("big", FILE, &[7; 5000]), (CONTROL_FILE, FILE, b"c")]);
    tar.truncate(2000);
    let (_directory, backup) = unpacked(tar).await;
    let error = backup.unwrap_err();
    assert!(error.to_string().contains("after 2000 bytes"), "{error}");
}

#[tokio::test]
async fn entries_outside_the_directory_are_refused() {
    for path in ["../evil", "/evil", "a/../../evil"] {
        let (_directory, backup) = unpacked(tar_of(&[(path, FILE, b"x")])).await;
        assert!(matches!(backup, Err(BackupError::Entry { .. })), "{path}");
    }
}

#[tokio::test]
async fn links_are_refused() {
    let (_directory, backup) = unpacked(tar_of(&[("l", tar::EntryType::Symlink, b"")])).await;
    assert!(matches!(backup, Err(BackupError::Entry { .. })));
}
