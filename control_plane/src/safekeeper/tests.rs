use super::*;
use crate::config::InitConf;
use crate::init::{Force, init};

fn env() -> (tempfile::TempDir, LocalEnv) {
    let dir = tempfile::tempdir().unwrap();
    let repo = Utf8PathBuf::from_path_buf(dir.path().join("repo")).unwrap();
    init(&repo, InitConf::with_defaults(1), Force::MustNotExist).unwrap();
    (dir, LocalEnv::load(&repo).unwrap())
}

#[test]
fn a_plain_safekeeper_gets_the_plain_arguments() {
    let (_dir, env) = env();
    let conf = find(&env, NodeId(2)).unwrap();
    let datadir = env.repo_dir.join("safekeepers/sk2");
    let expected = format!(
        "-D {datadir} --id 2 --listen-pg 127.0.0.1:5455 --listen-http 127.0.0.1:7677 \
         --availability-zone sk-2 --broker-endpoint http://127.0.0.1:50051"
    );
    assert_eq!(arguments(&env, conf).join(" "), expected);
}

#[test]
fn every_setting_becomes_an_argument() {
    let (_dir, env) = env();
    let conf = SafekeeperConf {
        sync: false,
        pg_tenant_only_port: Some(5555),
        backup_threads: Some(4),
        remote_storage: Some("{local_path='x'}".to_owned()),
        auth_enabled: true,
        listen_addr: Some("127.0.0.2".to_owned()),
        ..find(&env, NodeId(1)).unwrap().clone()
    };
    let arguments = arguments(&env, &conf).join(" ");
    for expected in [
        "--listen-pg 127.0.0.2:5454",
        "--listen-pg-tenant-only 127.0.0.2:5555",
        "--remote-storage {local_path='x'}",
        "--http-auth-public-key-path",
        "--no-sync",
    ] {
        assert!(arguments.contains(expected), "{expected} is missing in {arguments}");
    }
    assert_eq!(conf.compute_port(), 5555);
}

#[test]
fn a_cluster_with_certificates_starts_safekeepers_that_encrypt() {
    let (_dir, mut env) = env();
    env.config.generate_local_ssl_certs = true;
    let conf = SafekeeperConf { https_port: Some(7700), ..find(&env, NodeId(1)).unwrap().clone() };
    let arguments = arguments(&env, &conf).join(" ");
    let ca_file = env.repo_dir.join("certificates/ca.crt");
    for expected in [
        "--broker-endpoint https://127.0.0.1:50051",
        "--enable-tls-wal-service-api",
        "--listen-https 127.0.0.1:7700",
        &format!("--ssl-ca-file {ca_file}"),
    ] {
        assert!(arguments.contains(expected), "{expected} is missing in {arguments}");
    }
}

#[test]
fn an_unknown_id_is_named() {
    let (_dir, env) = env();
    let error = find(&env, NodeId(9)).unwrap_err();
    assert_eq!(error.to_string(), "could not find safekeeper 9");
}
