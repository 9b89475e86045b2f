use utils::auth::{JwtAuth, Scope};

use super::*;
use crate::config::LocalEnv;

fn parent() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

fn conf(pageserver: &str) -> InitConf {
    let text = format!(
        "default_tenant_id = '9ef87a5bf0d92544f6fafeeb3239695c'\n\
         pg_distrib_dir = '/opt/pg'\nneon_distrib_dir = '/opt/bin'\n\
         broker = {{ listen_addr = '127.0.0.1:50051' }}\nsafekeepers = []\n\
         control_plane_api = 'http://127.0.0.1:1234/upcall/v1/'\n\
         [[pageservers]]\nid = 1\nlisten_pg_addr = '127.0.0.1:64000'\n\
         listen_http_addr = '127.0.0.1:9898'\n{pageserver}"
    );
    toml::from_str(&text).unwrap()
}

fn pageserver_table(repo: &Utf8Path) -> toml::Table {
    fs::read_to_string(repo.join("pageserver_1/pageserver.toml")).unwrap().parse().unwrap()
}

#[test]
fn a_default_repo_can_be_loaded() {
    let (_dir, path) = parent();
    let repo = path.join("repo");
    init(&repo, InitConf::with_defaults(2), Force::MustNotExist).unwrap();
    let env = LocalEnv::load(&repo).unwrap();
    assert_eq!(env.pageservers.len(), 2);
    for entry in ["endpoints", "safekeepers/sk3", "local_fs_remote_storage/pageserver"] {
        assert!(repo.join(entry).is_dir(), "{entry}");
    }
    let metadata = fs::read_to_string(repo.join("pageserver_1/metadata.json")).unwrap();
    assert_eq!(
        metadata,
        r#"{"host":"localhost","http_host":"localhost","http_port":9898,"port":64000}"#
    );
    let mode = fs::metadata(env.private_key_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_key_pair_signs_and_verifies() {
    let (_dir, path) = parent();
    let repo = path.join("repo");
    init(&repo, InitConf::with_defaults(1), Force::MustNotExist).unwrap();
    let env = LocalEnv::load(&repo).unwrap();
    let token = crate::tokens::scoped(&env, Scope::PageServerApi).unwrap();
    let auth = JwtAuth::from_key_path(env.public_key_path().as_std_path()).unwrap();
    assert_eq!(auth.decode(&token).unwrap().scope, Scope::PageServerApi);
}

#[test]
fn pageserver_keys_replace_generated_ones_and_others_pass_through() {
    let (_dir, path) = parent();
    let repo = path.join("repo");
    let extra = "http_auth_type = 'NeonJWT'\nvirtual_file_io_engine = 'std-fs'\n\
                 remote_storage = { local_path = '/elsewhere' }\n\
                 tenant_config = { gc_period = '0s' }";
    init(&repo, conf(extra), Force::MustNotExist).unwrap();
    let table = pageserver_table(&repo);
    let text_of = |key: &str| table[key].as_str().unwrap();
    assert_eq!(text_of("broker_endpoint"), "http://127.0.0.1:50051/");
    assert_eq!(text_of("control_plane_api"), "http://127.0.0.1:1234/upcall/v1/");
    assert!(text_of("control_plane_api_token").starts_with("eyJ"));
    assert_eq!(text_of("auth_validation_public_key_path"), "../auth_public_key.pem");
    assert_eq!(text_of("virtual_file_io_engine"), "std-fs");
    assert_eq!(table["remote_storage"]["local_path"].as_str(), Some("/elsewhere"));
    assert_eq!(table["tenant_config"]["gc_period"].as_str(), Some("0s"));
}

#[test]
fn without_overrides_storage_is_local_and_nobody_checks_tokens() {
    let (_dir, path) = parent();
    let repo = path.join("repo");
    init(&repo, conf(""), Force::MustNotExist).unwrap();
    let table = pageserver_table(&repo);
    let local = table["remote_storage"]["local_path"].as_str();
    assert_eq!(local, Some("../local_fs_remote_storage/pageserver"));
    assert!(!table.contains_key("auth_validation_public_key_path"));
    assert!(!table.contains_key("control_plane_api_token"));
}

#[test]
fn an_existing_directory_is_respected_as_asked() {
    let (_dir, path) = parent();
    let defaults = || InitConf::with_defaults(1);
    let error = init(&path, defaults(), Force::MustNotExist).unwrap_err().to_string();
    assert_eq!(error, format!("directory '{path}' already exists. Perhaps already initialized?"));
    init(&path, defaults(), Force::EmptyDirOk).unwrap();
    let error = init(&path, defaults(), Force::EmptyDirOk).unwrap_err().to_string();
    assert_eq!(error, format!("directory not empty: \"{path}\""));
    fs::write(path.join("leftover"), "").unwrap();
    init(&path, defaults(), Force::RemoveAllContents).unwrap();
    assert!(!path.join("leftover").exists());
}

#[test]
fn a_repo_dir_may_be_a_symbolic_link() {
    let (_dir, path) = parent();
    fs::create_dir(path.join("real")).unwrap();
    fs::write(path.join("real/leftover"), "").unwrap();
    std::os::unix::fs::symlink(path.join("real"), path.join("link")).unwrap();
    init(&path.join("link"), InitConf::with_defaults(1), Force::RemoveAllContents).unwrap();
    assert!(path.join("real/config").exists() && !path.join("real/leftover").exists());
}

#[test]
fn an_incomplete_pageserver_entry_is_refused() {
    let (_dir, path) = parent();
    let mut broken = conf("");
    broken.pageservers[0].remove("listen_pg_addr");
    let error = init(&path.join("repo"), broken, Force::MustNotExist).unwrap_err().to_string();
    assert!(error.contains("listen_pg_addr"), "{error}");
}

#[test]
fn an_encrypting_repo_has_certificates_for_all_its_hosts_and_tells_everybody() {
    let (_dir, path) = parent();
    let repo = path.join("repo");
    let mut conf = InitConf { generate_local_ssl_certs: true, ..InitConf::with_defaults(1) };
    conf.safekeepers[0].listen_addr = Some("safekeeper.example".to_owned());
    init(&repo, conf, Force::MustNotExist).unwrap();
    let env = LocalEnv::load(&repo).unwrap();
    let files = env.certificates().unwrap();
    tls::ServerTls::load(&files.cert_file, &files.key_file, tls::ALPN_HTTP2).unwrap();
    env.client_tls().config().unwrap();
    assert!(!repo.join("certificates/ca.key").exists());
    assert_eq!(env.config.broker_url(), "https://127.0.0.1:50051");
    let pageserver = pageserver_table(&repo);
    assert_eq!(pageserver["broker_endpoint"].as_str(), Some("https://127.0.0.1:50051/"));
    assert_eq!(pageserver["enable_tls_page_service_api"].as_bool(), Some(true));
    assert_eq!(pageserver["walreceiver_sslmode"].as_str(), Some("verify-full"));
    for key in ["ssl_ca_file", "ssl_cert_file", "ssl_key_file"] {
        let named = repo.join("pageserver_1").join(pageserver[key].as_str().unwrap());
        assert!(named.exists(), "{named}");
    }
}

#[test]
fn a_repo_that_does_not_encrypt_has_no_certificates() {
    let (_dir, path) = parent();
    let repo = path.join("repo");
    init(&repo, InitConf::with_defaults(1), Force::MustNotExist).unwrap();
    let env = LocalEnv::load(&repo).unwrap();
    assert_eq!(env.certificates(), None);
    assert!(!repo.join("certificates").exists());
    assert!(!pageserver_table(&repo).contains_key("ssl_ca_file"));
}
