use super::*;

fn distrib_with(name: &str) -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    std::fs::create_dir_all(path.join(name).join("bin")).unwrap();
    std::fs::write(path.join(name).join("bin/postgres"), "").unwrap();
    (dir, path)
}

#[test]
fn both_layouts_of_versions_are_found() {
    for name in ["v16", "16"] {
        let (_dir, path) = distrib_with(name);
        let install = PostgresInstall::find(&path, PgMajor::V16).unwrap();
        assert_eq!(install.program("initdb"), path.join(name).join("bin/initdb"));
        assert_eq!(install.lib_dir(), path.join(name).join("lib"));
    }
}

#[test]
fn a_missing_version_is_named_with_where_it_was_looked_for() {
    let (_dir, path) = distrib_with("v16");
    let error = PostgresInstall::find(&path, PgMajor::V17).unwrap_err().to_string();
    assert!(error.contains("PostgreSQL 17"), "{error}");
    assert!(error.contains(&format!("{path}/v17/bin/postgres")), "{error}");
}
