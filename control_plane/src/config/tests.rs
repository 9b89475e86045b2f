use super::*;

const EXAMPLE: &str = r#"
pg_distrib_dir = "/opt/pg_install"
neon_distrib_dir = "/opt/neon/bin"
default_tenant_id = "9ef87a5bf0d92544f6fafeeb3239695c"
private_key_path = "auth_private_key.pem"
control_plane_api = "http://127.0.0.1:1234/upcall/v1/"

[broker]
listen_addr = "127.0.0.1:50051"

[storage_controller]
max_unavailable = "10s"

[[safekeepers]]
id = 1
pg_port = 5454
http_port = 7676
sync = true
auth_enabled = false

[branch_name_mappings]
main = [["9ef87a5bf0d92544f6fafeeb3239695c", "de200bd42b49cc1814412c7e592dd6e9"]]
"#;

fn parse(text: &str) -> Result<RepoConfig, ConfigError> {
    RepoConfig::parse(text, Utf8Path::new("/repo/config"))
}

fn repo() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

#[test]
fn the_example_is_read() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.broker_url(), "http://127.0.0.1:50051");
    assert_eq!(config.safekeepers.len(), 1);
    let safekeeper = &config.safekeepers[0];
    assert_eq!((safekeeper.id, safekeeper.compute_port()), (NodeId(1), 5454));
    assert_eq!(config.branch_name_mappings["main"].len(), 1);
    assert_eq!(config.storage_controller.max_unavailable, Duration::from_secs(10));
}

#[test]
fn a_written_config_reads_back_equal() {
    let (_dir, path) = repo();
    let config = parse(EXAMPLE).unwrap();
    config.write(&path).unwrap();
    assert_eq!(LocalEnv::load(&path).unwrap().config, config);
}

#[test]
fn all_keys_have_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.broker.listen_addr.to_string(), "0.0.0.0:0");
    assert_eq!(config, RepoConfig::default());
}

#[test]
fn unknown_keys_are_refused_at_the_top_and_ignored_inside() {
    let error = parse("colour = 'red'").unwrap_err().to_string();
    assert!(error.contains("/repo/config") && error.contains("colour"), "{error}");
    parse("[broker]\ncolour = 'red'").unwrap();
    parse("[[safekeepers]]\ncolour = 'red'").unwrap();
}

#[test]
fn pageservers_are_refused_in_favour_of_their_own_files() {
    let error = parse("[[pageservers]]\nid = 1").unwrap_err().to_string();
    assert!(error.contains("authoritative"), "{error}");
}

#[test]
fn a_missing_repo_says_how_to_make_one() {
    let (_dir, path) = repo();
    let error = LocalEnv::load(&path).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("Neon config is not found in {path}. You need to run 'neon_local init' first")
    );
}

#[test]
fn only_a_change_is_written() {
    let (_dir, path) = repo();
    RepoConfig::default().write(&path).unwrap();
    let mut env = LocalEnv::load(&path).unwrap();
    fs::remove_file(path.join("config")).unwrap();
    env.save_if_changed().unwrap();
    assert!(!path.join("config").exists());
    env.config.default_tenant_id = Some(TenantId::generate());
    env.save_if_changed().unwrap();
    assert_eq!(LocalEnv::load(&path).unwrap().config, env.config);
}

#[test]
fn pageservers_are_found_by_their_directories() {
    let (_dir, path) = repo();
    RepoConfig::default().write(&path).unwrap();
    for id in [10, 2] {
        let dir = path.join(format!("pageserver_{id}"));
        fs::create_dir(&dir).unwrap();
        let toml = format!(
            "id = {id}\nlisten_pg_addr = '127.0.0.1:6400{id}'\nlisten_http_addr = 'localhost'\n\
             availability_zone = 'x'"
        );
        fs::write(dir.join("pageserver.toml"), toml).unwrap();
    }
    let env = LocalEnv::load(&path).unwrap();
    let ids: Vec<_> = env.pageservers.iter().map(|p| p.id).collect();
    assert_eq!(ids, [NodeId(2), NodeId(10)]);
    assert_eq!(env.pageservers[0].pg_host_port(), ("127.0.0.1", 64002));
    assert_eq!(env.pageservers[0].http_url(), "http://localhost:9898");
    assert_eq!(env.pageservers[0].http_auth_type, AuthType::Trust);
}

#[test]
fn a_pageserver_directory_must_match_its_file() {
    let (_dir, path) = repo();
    RepoConfig::default().write(&path).unwrap();
    let dir = path.join("pageserver_3");
    fs::create_dir(&dir).unwrap();
    let toml = "id = 4\nlisten_pg_addr = 'a:1'\nlisten_http_addr = 'a:2'";
    fs::write(dir.join("pageserver.toml"), toml).unwrap();
    let error = LocalEnv::load(&path).unwrap_err().to_string();
    assert!(error.contains("id mismatch: config_toml.id=4 id=3"), "{error}");
}

#[test]
fn a_branch_name_keeps_its_timeline() {
    let (_dir, path) = repo();
    RepoConfig::default().write(&path).unwrap();
    let mut env = LocalEnv::load(&path).unwrap();
    let (tenant, other_tenant) = (TenantId::generate(), TenantId::generate());
    let (one, two) = (TimelineId::generate(), TimelineId::generate());
    env.map_branch("main", tenant, one).unwrap();
    env.map_branch("main", tenant, one).unwrap();
    env.map_branch("main", other_tenant, two).unwrap();
    let error = env.map_branch("main", tenant, two).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "branch 'main' is already mapped to timeline {one}, cannot map to another timeline {two}"
        )
    );
    assert_eq!(env.branch_timeline("main", other_tenant), Some(two));
    assert_eq!(env.branch_name(tenant, one), Some("main"));
    assert_eq!(env.branch_name(tenant, two), None);
}

#[test]
fn the_default_installation_has_three_safekeepers() {
    let conf = InitConf::with_defaults(2);
    let ports: Vec<_> =
        conf.safekeepers.iter().map(|sk| (sk.id.0, sk.pg_port, sk.http_port)).collect();
    assert_eq!(ports, [(1, 5454, 7676), (2, 5455, 7677), (3, 5456, 7678)]);
    assert_eq!(conf.pageservers[1]["listen_pg_addr"].as_str(), Some("127.0.0.1:64001"));
    assert_eq!(conf.pageservers[1]["listen_http_addr"].as_str(), Some("127.0.0.1:9899"));
    assert_eq!(conf.control_plane_api, None);
}
