use super::*;

fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
    (guard, path)
}

fn configuration(root: &Utf8Path) -> PostgresConfig {
    PostgresConfig {
        distrib_dir: root.join("none"),
        superuser: "cloud_admin".to_owned(),
        os_user: "postgres".to_owned(),
    }
}

#[test]
fn an_archive_restores_files_and_empty_directories() {
    let (_guard, root) = directory();
    let (from, to) = (root.join("from"), root.join("to"));
    std::fs::create_dir_all(from.join("base/1")).unwrap();
    std::fs::create_dir_all(from.join("pg_notify")).unwrap();
    std::fs::write(from.join("base/1/1259"), vec![7; 100_000]).unwrap();
    pack(&from, &root.join("a")).unwrap();
    std::fs::create_dir(&to).unwrap();
    unpack(&std::fs::read(root.join("a")).unwrap(), &to).unwrap();
    assert_eq!(std::fs::read(to.join("base/1/1259")).unwrap(), vec![7; 100_000]);
    assert!(to.join("pg_notify").is_dir());
}

#[test]
fn the_same_directory_gives_the_same_archive() {
    let (_guard, root) = directory();
    let from = root.join("from");
    std::fs::create_dir(&from).unwrap();
    for name in ["b", "a", "c"] {
        std::fs::write(from.join(name), name).unwrap();
    }
    pack(&from, &root.join("1")).unwrap();
    pack(&from, &root.join("2")).unwrap();
    assert_eq!(std::fs::read(root.join("1")).unwrap(), std::fs::read(root.join("2")).unwrap());
}

#[test]
fn a_truncated_archive_is_an_error() {
    let (_guard, root) = directory();
    let from = root.join("from");
    std::fs::create_dir(&from).unwrap();
    std::fs::write(from.join("a"), vec![7; 10_000]).unwrap();
    pack(&from, &root.join("a")).unwrap();
    let bytes = std::fs::read(root.join("a")).unwrap();
    assert!(unpack(&bytes[..bytes.len() / 2], &root.join("to")).is_err());
    assert!(unpack(b"garbage", &root.join("to")).is_err());
}

#[test]
fn the_directory_disappears_with_its_guard() {
    let (_guard, root) = directory();
    let cluster = ClusterDirectory::create(root.join("cluster"), &configuration(&root)).unwrap();
    let path = cluster.path().to_owned();
    assert!(path.is_dir());
    drop(cluster);
    assert!(!path.exists());
}

#[tokio::test]
async fn initdb_makes_a_cluster_of_the_installed_version() {
    let (_guard, root) = directory();
    let conf = configuration(&root);
    let Ok(_) = conf.installation(PgMajor::V15) else { return };
    let cluster = ClusterDirectory::create(root.join("cluster"), &conf).unwrap();
    cluster.run_initdb(&conf, PgMajor::V15, &CancellationToken::new()).await.unwrap();
    let version = std::fs::read_to_string(cluster.path().join("PG_VERSION")).unwrap();
    assert_eq!(version.trim(), "15");
}
