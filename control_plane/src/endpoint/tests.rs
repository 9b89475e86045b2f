use std::net::TcpListener;

use super::*;
use crate::config::InitConf;
use crate::init::{Force, init};

pub(super) fn endpoint_conf(name: &str) -> EndpointConf {
    EndpointConf {
        endpoint_id: name.to_owned(),
        tenant_id: TenantId::generate(),
        timeline_id: TimelineId::generate(),
        mode: ComputeMode::Primary,
        pg_port: 55432,
        http_port: 55433,
        pg_version: PgMajor::V15,
        skip_pg_catalog_updates: true,
        features: Vec::new(),
    }
}

fn env() -> (tempfile::TempDir, LocalEnv) {
    let dir = tempfile::tempdir().unwrap();
    let repo = Utf8PathBuf::from_path_buf(dir.path().join("repo")).unwrap();
    init(&repo, InitConf::with_defaults(1), Force::MustNotExist).unwrap();
    (dir, LocalEnv::load(&repo).unwrap())
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn new_endpoint(name: &str, timeline_id: TimelineId, pg_port: u16) -> NewEndpoint {
    NewEndpoint {
        endpoint_id: name.to_owned(),
        tenant_id: TenantId::from_bytes([1; 16]),
        timeline_id,
        mode: ComputeMode::Primary,
        pg_port: Some(pg_port),
        http_port: Some(free_port()),
        pg_version: PgMajor::V15,
        skip_pg_catalog_updates: true,
    }
}

fn with_ports(pg_port: u16, http_port: u16) -> Endpoint {
    let conf = EndpointConf { pg_port, http_port, ..endpoint_conf("ep") };
    Endpoint { conf, dir: "/nonexistent".into() }
}

#[test]
fn ports_follow_the_highest_in_use() {
    let choose = |existing: &[Endpoint], pg, http| choose_ports(existing, pg, http).unwrap();
    assert_eq!(choose(&[], None, None), (55432, 55433));
    let first = with_ports(55432, 55433);
    assert_eq!(choose(std::slice::from_ref(&first), None, None), (55434, 55435));
    let custom = with_ports(60000, 100);
    assert_eq!(choose(&[first.clone(), custom], None, None), (60001, 60002));
    assert_eq!(choose(&[first], Some(7000), None), (7000, 55435));
    assert_eq!(choose(&[], Some(1), Some(2)), (1, 2));
    let last = with_ports(u16::MAX, 1);
    assert!(matches!(choose_ports(&[last], None, None), Err(EndpointError::NoPortsLeft)));
}

#[test]
fn the_description_has_the_documented_form() {
    let conf = EndpointConf {
        tenant_id: TenantId::from_bytes([1; 16]),
        timeline_id: TimelineId::from_bytes([2; 16]),
        ..endpoint_conf("ep-main")
    };
    let expected = format!(
        "{{\"endpoint_id\":\"ep-main\",\"tenant_id\":\"{}\",\"timeline_id\":\"{}\",\
         \"mode\":\"Primary\",\"pg_port\":55432,\"http_port\":55433,\"pg_version\":15,\
         \"skip_pg_catalog_updates\":true,\"features\":[]}}",
        "01".repeat(16),
        "02".repeat(16)
    );
    assert_eq!(serde_json::to_string(&conf).unwrap(), expected);
    let mode = ComputeMode::Static(Lsn(0x16B5A50));
    assert_eq!(serde_json::to_string(&mode).unwrap(), r#"{"Static":"0/16B5A50"}"#);
}

#[test]
fn a_created_endpoint_is_listed_and_can_be_deleted() {
    let (_dir, env) = env();
    let new = new_endpoint("ep-main", TimelineId::generate(), free_port());
    let created = Endpoint::create(&env, new.clone(), false).unwrap();
    assert_eq!(Endpoint::list(&env).unwrap(), std::slice::from_ref(&created));
    assert_eq!(Endpoint::find(&env, "ep-main").unwrap(), Some(created.clone()));
    assert_eq!(Endpoint::find(&env, "other").unwrap(), None);
    assert_eq!(created.status(), EndpointStatus::Stopped);
    assert!(matches!(Endpoint::create(&env, new, false), Err(EndpointError::Exists(_))));
    created.delete().unwrap();
    assert!(Endpoint::list(&env).unwrap().is_empty());
}

#[test]
fn names_stay_inside_the_directory() {
    let (_dir, env) = env();
    for name in ["", "../up", "a/b", ".hidden", "sp ace"] {
        let new = new_endpoint(name, TimelineId::generate(), free_port());
        let error = Endpoint::create(&env, new, false).unwrap_err();
        assert!(matches!(error, EndpointError::InvalidName(_)), "{name:?}: {error}");
    }
}

#[test]
fn a_second_primary_is_refused_unless_the_first_is_stopped() {
    let (_dir, env) = env();
    let timeline = TimelineId::generate();
    let postgres = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = postgres.local_addr().unwrap().port();
    let first = Endpoint::create(&env, new_endpoint("first", timeline, port), false).unwrap();
    assert_eq!(first.status(), EndpointStatus::RunningNoPidfile);

    let second = || new_endpoint("second", timeline, free_port());
    let error = Endpoint::create(&env, second(), false).unwrap_err().to_string();
    assert!(error.starts_with("attempting to create a duplicate primary endpoint"), "{error}");
    assert!(error.contains("\"first\" exists already"), "{error}");
    let elsewhere = new_endpoint("elsewhere", TimelineId::generate(), free_port());
    Endpoint::create(&env, elsewhere, false).unwrap();

    drop(postgres);
    let second = Endpoint::create(&env, second(), false).unwrap();
    second.refuse_duplicate_primary(&Endpoint::list(&env).unwrap()).unwrap();
}

#[test]
fn a_pid_file_without_a_server_is_a_crash() {
    let (_dir, env) = env();
    let new = new_endpoint("ep", TimelineId::generate(), free_port());
    let endpoint = Endpoint::create(&env, new, false).unwrap();
    fs::create_dir(endpoint.pgdata()).unwrap();
    fs::write(endpoint.pgdata().join("postmaster.pid"), "1\n").unwrap();
    assert_eq!(endpoint.status(), EndpointStatus::Crashed);
    assert!(matches!(endpoint.delete(), Err(EndpointError::StillRunning(_))));
}

#[test]
fn a_stray_entry_among_endpoints_is_an_error() {
    let (_dir, env) = env();
    fs::create_dir(env.endpoints_dir().join("empty")).unwrap();
    let error = Endpoint::list(&env).unwrap_err().to_string();
    assert!(error.contains("empty/endpoint.json"), "{error}");
}

#[test]
fn the_spec_of_an_encrypting_cluster_says_whom_to_trust() {
    let (_dir, mut env) = env();
    env.config.generate_local_ssl_certs = true;
    let new = new_endpoint("ep", TimelineId::generate(), free_port());
    let endpoint = Endpoint::create(&env, new, false).unwrap();
    let target = ComputeTarget {
        pageservers: env.pageservers.clone(),
        shard_stripe_size: None,
        safekeepers: None,
    };
    let spec = endpoint.spec(&env, &target, true).unwrap();
    let ca_file = env.repo_dir.join("certificates/ca.crt");
    let trust = format!("?sslmode=verify-full&sslrootcert={ca_file}");
    let pageserver = format!("postgresql://no_user@127.0.0.1:64000{trust}");
    assert_eq!(spec["pageserver_connstring"], pageserver.as_str());
    let safekeeper = format!("postgresql://no_user@127.0.0.1:5454{trust}");
    assert_eq!(spec["safekeeper_connstrings"][0], safekeeper.as_str());
}

#[test]
fn the_spec_says_what_to_run_and_where_the_storage_is() {
    let (_dir, env) = env();
    let new = new_endpoint("ep", TimelineId::generate(), free_port());
    let endpoint = Endpoint::create(&env, new, false).unwrap();
    let target = ComputeTarget {
        pageservers: env.pageservers.clone(),
        shard_stripe_size: None,
        safekeepers: Some(vec![NodeId(3), NodeId(1)]),
    };
    let spec = endpoint.spec(&env, &target, true).unwrap();
    assert_eq!(spec["pageserver_connstring"], "postgresql://no_user@127.0.0.1:64000");
    let safekeepers = serde_json::json!(["127.0.0.1:5456", "127.0.0.1:5454"]);
    assert_eq!(spec["safekeeper_connstrings"], safekeepers);
    assert_eq!(spec["mode"], "Primary");
    assert_eq!(spec["cluster"]["databases"][0]["owner"], "test");
    assert_eq!(spec["storage_auth_token"], serde_json::Value::Null);
    let settings = spec["cluster"]["postgresql_conf"].as_str().unwrap();
    assert!(settings.contains(&format!("port={}\n", endpoint.conf.pg_port)));

    let unknown = ComputeTarget { safekeepers: Some(vec![NodeId(9)]), ..target };
    let error = endpoint.spec(&env, &unknown, false).unwrap_err().to_string();
    assert_eq!(error, "safekeeper 9 does not exist");
}

#[test]
fn a_primary_needs_a_safekeeper() {
    let (_dir, mut env) = env();
    env.config.safekeepers.clear();
    let new = new_endpoint("ep", TimelineId::generate(), free_port());
    let endpoint = Endpoint::create(&env, new, false).unwrap();
    let target =
        ComputeTarget { pageservers: Vec::new(), shard_stripe_size: None, safekeepers: None };
    let error = endpoint.spec(&env, &target, false).unwrap_err();
    assert!(matches!(error, EndpointError::NoSafekeepers(_)), "{error}");
}
