use std::io::Read;

use super::*;

const SPARSE: BackupKind = BackupKind::Sparse { lazy_slru: false };

fn is_relation_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    path.starts_with("base/") && name.bytes().all(|byte| byte.is_ascii_digit())
}

#[tokio::test]
async fn a_sparse_backup_has_everything_but_relations() {
    let imported = Imported::fresh().await;
    let entries = unpack(&imported.backup(SPARSE).await);
    for directory in ["pg_twophase", "pg_logical/mappings", "base/1", "pg_wal/archive_status"] {
        assert_eq!(entries[directory], None, "{directory} is a directory");
    }
    for file in ["PG_VERSION", "base/1/PG_VERSION", "pg_hba.conf", "global/pg_filenode.map"] {
        assert!(entries[file].is_some(), "{file} is a file");
    }
    assert_eq!(entries["pg_xact/0000"].as_ref().unwrap().len() % 8192, 0);
    assert!(!entries.iter().any(|(path, content)| content.is_some() && is_relation_file(path)));
}

#[tokio::test]
async fn the_control_file_and_the_wal_come_last() {
    let imported = Imported::fresh().await;
    let tar = imported.backup(SPARSE).await;
    let mut archive = tar::Archive::new(tar.as_slice());
    let paths: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect();
    let [signal, control, wal] = &paths[paths.len() - 3..] else { panic!("{paths:?}") };
    assert_eq!((signal.as_str(), control.as_str()), ("zenith.signal", "global/pg_control"));
    assert!(wal.starts_with("pg_wal/0000000100000000"));
    assert_eq!(paths[0], "global");
}

#[tokio::test]
async fn a_lazy_sparse_backup_leaves_the_slrus_out() {
    let imported = Imported::fresh().await;
    let entries = unpack(&imported.backup(BackupKind::Sparse { lazy_slru: true }).await);
    assert!(!entries.contains_key("pg_xact/0000"));
}

#[tokio::test]
async fn the_signal_file_names_the_previous_record() {
    let imported = Imported::fresh().await;
    let mut request = imported.request(SPARSE);
    for (prev, is_branch_point, expected) in [
        (Lsn(0x16_B918), false, "PREV LSN: 0/16B918"),
        (Lsn::INVALID, true, "PREV LSN: none"),
        (Lsn::INVALID, false, "PREV LSN: invalid"),
    ] {
        (request.prev_lsn, request.is_branch_point) = (prev, is_branch_point);
        let mut tar = Vec::new();
        send_basebackup(&imported.store, &request, Compression::None, &mut tar).await.unwrap();
        assert_eq!(unpack(&tar)["zenith.signal"], Some(expected.as_bytes().to_vec()));
    }
}

#[tokio::test]
async fn a_compressed_backup_is_the_same_archive() {
    let imported = Imported::fresh().await;
    let mut compressed = Vec::new();
    let request = imported.request(SPARSE);
    send_basebackup(&imported.store, &request, Compression::Gzip, &mut compressed).await.unwrap();
    assert_eq!(compressed[..2], [0x1F, 0x8B]);
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut tar).unwrap();
    assert_eq!(unpack(&tar), unpack(&imported.backup(SPARSE).await));
}

#[tokio::test]
async fn a_full_backup_has_the_files_of_the_data_directory() {
    let imported = Imported::fresh().await;
    let entries = unpack(&imported.backup(BackupKind::Full).await);
    let pgdata = imported.cluster.pgdata();
    let mut compared = 0;
    for (path, content) in entries.iter().filter(|(path, _)| is_relation_file(path)) {
        let Some(content) = content else { continue };
        let file = std::fs::read(pgdata.join(path)).unwrap();
        assert!(*content == file, "{path} differs");
        compared += 1;
    }
    assert!(compared > 500, "{compared} files");
}

#[tokio::test]
async fn a_receiver_that_leaves_is_the_clients_failure() {
    let imported = Imported::fresh().await;
    let (mut near, far) = tokio::io::duplex(1024);
    drop(far);
    let request = imported.request(BackupKind::Full);
    let error =
        send_basebackup(&imported.store, &request, Compression::None, &mut near).await.unwrap_err();
    assert!(matches!(error, super::super::BasebackupError::Client(_)), "{error:?}");
}

#[tokio::test]
async fn tablespaces_are_directories_in_the_data_directory() {
    let mut imported = Imported::fresh().await;
    let is_in_tablespace = |path: &&String| path.starts_with("pg_tblspc/");
    assert_eq!(unpack(&imported.backup(SPARSE).await).keys().find(is_in_tablespace), None);

    let (last, major) = (imported.position.0, imported.major);
    let mut modification = DatadirModification::begin(&imported.store, major, last);
    modification.set_lsn(Lsn(last.0 + 0x100)).unwrap();
    modification.create_tablespace(16_400).await.unwrap();
    // Of this one the creation is not known.
    let fork = postgres_ffi::ForkNumber::Main;
    let rel = postgres_ffi::RelTag { spcnode: 16_401, dbnode: 5, relnode: 16_500, fork };
    modification.create_relation(rel, 0).await.unwrap();
    modification.commit().await.unwrap();
    imported.position = (Lsn(last.0 + 0x100), last);

    let control_file = imported.cluster.pgdata().join("global/pg_control");
    let control_file = ControlFile::parse(&std::fs::read(control_file).unwrap()).unwrap();
    let version =
        |spcnode: u32| format!("pg_tblspc/{spcnode}/PG_15_{}", control_file.catalog_version());
    let directories = [
        "pg_tblspc/16400".to_owned(),
        version(16_400),
        "pg_tblspc/16401".to_owned(),
        version(16_401),
        version(16_401) + "/5",
    ];
    for kind in [SPARSE, BackupKind::Full, BackupKind::Bootable] {
        let entries = unpack(&imported.backup(kind).await);
        let (files, found): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .filter(|(path, _)| is_in_tablespace(&path))
            .partition(|(_, content)| content.is_some());
        assert_eq!(found.into_iter().map(|(path, _)| path).collect::<Vec<_>>(), directories);
        let expected =
            (kind != SPARSE).then(|| (format!("{}/16500", directories[4]), Some(Vec::new())));
        assert_eq!(files, Vec::from_iter(expected), "{kind:?}");
    }
}
