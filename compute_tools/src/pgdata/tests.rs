use super::*;

fn temporary() -> (tempfile::TempDir, Utf8PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(directory.path().join("pgdata")).unwrap();
    (directory, path)
}

fn own_account() -> String {
    if Uid::effective().is_root() { "root".to_owned() } else { "unused".to_owned() }
}

#[test]
fn an_old_directory_is_replaced_by_an_empty_one_of_mode_0700() {
    let (_guard, path) = temporary();
    std::fs::create_dir_all(path.join("base/1")).unwrap();
    let pgdata = Pgdata::create(&path, &own_account()).unwrap();
    assert_eq!(path.read_dir_utf8().unwrap().count(), 0);
    assert_eq!(pgdata.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_missing_file_reads_as_empty() {
    let (_guard, path) = temporary();
    let pgdata = Pgdata::create(&path, &own_account()).unwrap();
    assert_eq!(pgdata.read_text("pg_hba.conf").unwrap(), "");
    pgdata.write("pg_hba.conf", b"x").unwrap();
    assert_eq!(pgdata.read_text("pg_hba.conf").unwrap(), "x");
}

#[test]
fn root_needs_an_account_that_exists() {
    let (_guard, path) = temporary();
    let outcome = Pgdata::create(&path, "no-such-account-here");
    assert_eq!(outcome.is_err(), Uid::effective().is_root());
}
