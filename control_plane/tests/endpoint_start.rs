//! Starting endpoints with a compute_ctl that is a shell script.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use camino::Utf8PathBuf;
use control_plane::config::{InitConf, LocalEnv};
use control_plane::endpoint::{
    ComputeMode, ComputeTarget, Endpoint, EndpointError, NewEndpoint, StartOptions,
};
use control_plane::init::{Force, init};
use postgres_ffi::PgMajor;
use serde_json::{Value, json};
use utils::{TenantId, TimelineId};

struct Fixture {
    _dir: tempfile::TempDir,
    env: LocalEnv,
    endpoint: Endpoint,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A repo whose compute_ctl runs `script`.
fn fixture(script: &str) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let postgres = path.join("pg/15/bin/postgres");
    fs::create_dir_all(postgres.parent().unwrap()).unwrap();
    fs::write(&postgres, "").unwrap();
    let compute_ctl = path.join("compute_ctl");
    fs::write(&compute_ctl, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&compute_ctl, fs::Permissions::from_mode(0o755)).unwrap();

    let mut conf = InitConf::with_defaults(1);
    conf.pg_distrib_dir = Some(path.join("pg"));
    conf.neon_distrib_dir = Some(path.clone());
    let repo = path.join("repo");
    init(&repo, conf, Force::MustNotExist).unwrap();
    let env = LocalEnv::load(&repo).unwrap();
    let new = NewEndpoint {
        endpoint_id: "ep".to_owned(),
        tenant_id: TenantId::generate(),
        timeline_id: TimelineId::generate(),
        mode: ComputeMode::Primary,
        pg_port: Some(free_port()),
        http_port: Some(free_port()),
        pg_version: PgMajor::V15,
        skip_pg_catalog_updates: true,
    };
    let endpoint = Endpoint::create(&env, new, false).unwrap();
    Fixture { _dir: dir, env, endpoint }
}

impl Fixture {
    async fn start(&self) -> Result<(), EndpointError> {
        let target = ComputeTarget {
            pageservers: self.env.pageservers.clone(),
            shard_stripe_size: None,
            safekeepers: None,
        };
        let options = StartOptions { target, remote_ext_config: None, create_test_user: false };
        self.endpoint.start(&self.env, options).await
    }

    /// Answers `/status` once the script has been launched, as compute_ctl would.
    fn answer_when_launched(&self, answers: Vec<Value>) {
        let launched = self.endpoint.dir.join("compute_ctl.pid");
        let port = self.endpoint.conf.http_port;
        tokio::spawn(async move {
            while !launched.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let answers = std::sync::Mutex::new(answers.into_iter().peekable());
            let next = move || {
                let mut answers = answers.lock().unwrap();
                // The last one is repeated.
                let answer = answers.peek().cloned().unwrap();
                if answers.len() > 1 {
                    answers.next();
                }
                std::future::ready(Json(answer))
            };
            let next = std::sync::Arc::new(next);
            let routes = Router::new().route("/status", get(move || next()));
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
            axum::serve(listener, routes).await
        });
    }
}

#[tokio::test]
async fn a_start_waits_through_the_phases_until_running() {
    let fixture = fixture("echo \"$@\"; exec sleep 600");
    let phases = ["empty", "init", "syncing", "basebackup", "starting", "running"];
    fixture.answer_when_launched(phases.iter().map(|word| json!({"status": word})).collect());
    fixture.start().await.unwrap();

    let endpoint = &fixture.endpoint;
    let pid: i32 =
        fs::read_to_string(endpoint.dir.join("compute_ctl.pid")).unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    let log = fs::read_to_string(endpoint.log_path()).unwrap();
    for expected in [
        format!("--http-port {}", endpoint.conf.http_port),
        format!("--pgdata {}", endpoint.pgdata()),
        format!("--connstr postgresql://cloud_admin@127.0.0.1:{}/postgres", endpoint.conf.pg_port),
        format!("--spec-path {}/spec.json", endpoint.dir),
        "pg/15/bin/postgres".to_owned(),
    ] {
        assert!(log.contains(&expected), "{expected} is missing in {log}");
    }
    let spec: Value =
        serde_json::from_slice(&fs::read(endpoint.dir.join("spec.json")).unwrap()).unwrap();
    assert_eq!(spec["timeline_id"], endpoint.conf.timeline_id.to_string());
}

#[tokio::test]
async fn a_failed_compute_is_reported_with_its_reason() {
    let fixture = fixture("exec sleep 600");
    fixture.answer_when_launched(vec![json!({"status": "failed", "error": "no quorum"})]);
    let text = fixture.start().await.unwrap_err().to_string();
    assert!(text.starts_with("compute startup failed: no quorum; see "), "{text}");
    assert!(text.contains("compute.log"), "{text}");
}

#[tokio::test]
async fn an_unexpected_status_ends_the_wait() {
    let fixture = fixture("exec sleep 600");
    fixture.answer_when_launched(vec![json!({"status": "terminated"})]);
    let text = fixture.start().await.unwrap_err().to_string();
    assert!(text.starts_with("unexpected compute status: terminated"), "{text}");
}

#[tokio::test]
async fn a_compute_ctl_that_ends_is_reported_with_what_it_said() {
    let fixture = fixture("echo cannot read the spec >&2; exit 4");
    let text = fixture.start().await.unwrap_err().to_string();
    assert!(text.contains("exit status: 4") && text.contains("cannot read the spec"), "{text}");
}

#[tokio::test]
async fn an_old_data_directory_is_thrown_away() {
    let fixture = fixture("exit 1");
    let old = fixture.endpoint.pgdata().join("old");
    fs::create_dir_all(&old).unwrap();
    fixture.start().await.unwrap_err();
    assert!(!old.exists());
}

#[tokio::test]
async fn a_taken_port_is_reported_before_anything_is_started() {
    let fixture = fixture("exit 1");
    let _taken =
        std::net::TcpListener::bind(("127.0.0.1", fixture.endpoint.conf.http_port)).unwrap();
    let text = fixture.start().await.unwrap_err().to_string();
    assert!(text.contains("the HTTP service of endpoint ep, is already in use"), "{text}");
    assert!(text.contains("endpoint.json"), "{text}");
    assert!(!fixture.endpoint.dir.join("compute_ctl.pid").exists());
}
