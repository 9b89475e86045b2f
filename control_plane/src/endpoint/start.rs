//! Starting an endpoint: compute_ctl builds the data directory and runs PostgreSQL.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::spec::{TEST_DATABASE, TEST_USER};
use super::{ComputeTarget, Endpoint, EndpointError, EndpointStatus};
use crate::config::LocalEnv;
use crate::distrib::PostgresInstall;
use crate::process::{POLL_INTERVAL, log_tail, print_progress};
use crate::{local_http, ports};

/// How long a compute may take to serve.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// One question about its status.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// How to start.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// The storage to use.
    pub target: ComputeTarget,
    /// Where extensions are downloaded from.
    pub remote_ext_config: Option<String>,
    /// Make a role and a database for tests.
    pub create_test_user: bool,
}

/// The part of compute_ctl's status that matters here.
#[derive(Deserialize)]
struct ComputeStatus {
    status: String,
    #[serde(default)]
    error: Option<String>,
}

/// What a status means for the wait.
enum Progress {
    Waiting(String),
    Running,
    Ended(String),
}

impl Endpoint {
    /// Starts the endpoint and waits until it serves.
    pub async fn start(&self, env: &LocalEnv, options: StartOptions) -> Result<(), EndpointError> {
        if self.status() == EndpointStatus::Running {
            return Err(EndpointError::AlreadyRunning);
        }
        if self.compute_ctl_pid().is_some() {
            return Err(EndpointError::StillRunning(self.conf.endpoint_id.clone()));
        }
        let install = PostgresInstall::find(&env.config.pg_distrib_dir, self.conf.pg_version)?;
        for wanted in self.ports() {
            ports::check(wanted)?;
        }
        let spec = self.spec(env, &options.target, options.create_test_user)?;
        let pgdata = self.pgdata();
        if pgdata.exists() {
            fs::remove_dir_all(&pgdata).map_err(EndpointError::io("remove", &pgdata))?;
        }
        self.write("spec.json", format!("{spec:#}").as_bytes())?;

        println!("Starting postgres node at '{}'", self.connstr("cloud_admin", "postgres"));
        if options.create_test_user {
            println!("Also at '{}'", self.connstr(TEST_USER, TEST_DATABASE));
        }
        let log_start = fs::metadata(self.log_path()).map_or(0, |metadata| metadata.len());
        let mut child = self.launch(env, &install, options.remote_ext_config.as_deref())?;
        let waited = self.wait_until_running(&mut child, log_start).await;
        if waited.is_err() {
            println!("SIGKILL & wait the started process");
            // Fails only if it has ended by itself, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
        waited
    }

    fn launch(
        &self,
        env: &LocalEnv,
        install: &PostgresInstall,
        remote_ext_config: Option<&str>,
    ) -> Result<Child, EndpointError> {
        let log_path = self.log_path();
        let log_error = || EndpointError::io("open", &log_path);
        let stdout =
            OpenOptions::new().create(true).append(true).open(&log_path).map_err(log_error())?;
        let stderr = stdout.try_clone().map_err(log_error())?;
        let program = env.binary("compute_ctl");
        let mut command = Command::new(&program);
        command
            .args(["--http-port", &self.conf.http_port.to_string()])
            .args(["--pgdata", self.pgdata().as_str()])
            .args(["--connstr", &self.connstr("cloud_admin", "postgres")])
            .args(["--spec-path", self.dir.join("spec.json").as_str()])
            .args(["--pgbin", install.program("postgres").as_str()])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            // An interrupt from the terminal is for this tool, not for the compute.
            .process_group(0);
        if let Some(url) = remote_ext_config {
            command.args(["--remote-ext-config", url]);
        }
        let child = command.spawn().map_err(EndpointError::io("run", &program))?;
        self.write("compute_ctl.pid", child.id().to_string().as_bytes())?;
        Ok(child)
    }

    async fn wait_until_running(
        &self,
        child: &mut Child,
        log_start: u64,
    ) -> Result<(), EndpointError> {
        let log = self.log_path();
        let failed = |message: String| EndpointError::Compute {
            message,
            tail: log_tail(&log, log_start),
            log: log.clone(),
        };
        let url = self.http_url("/status");
        let http = local_http::client()
            .map_err(|source| EndpointError::Http { url: url.clone(), source })?;
        let started = Instant::now();
        let mut last_status = None;
        for poll in 1.. {
            match ask_status(&http, &url).await {
                Some(Progress::Running) => {
                    println!();
                    return Ok(());
                }
                Some(Progress::Ended(message)) => return Err(failed(message)),
                Some(Progress::Waiting(status)) => last_status = Some(status),
                None => {}
            }
            let exited = child.try_wait().map_err(EndpointError::io("wait for", &self.dir))?;
            if let Some(status) = exited {
                return Err(failed(format!("compute_ctl ended during its start with {status}")));
            }
            if started.elapsed() >= START_TIMEOUT {
                break;
            }
            print_progress(&self.conf.endpoint_id, "started", poll);
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Err(failed(match last_status {
            Some(status) if status == "init" => {
                "compute startup timed out; still in Init state".to_owned()
            }
            Some(status) => format!("compute startup timed out; still in state {status}"),
            None => "timed out waiting to connect to compute_ctl HTTP".to_owned(),
        }))
    }
}

/// `None` when there is no answer yet.
async fn ask_status(http: &reqwest::Client, url: &str) -> Option<Progress> {
    let response = http.get(url).timeout(STATUS_TIMEOUT).send().await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    Some(progress(response.json().await.ok()?))
}

fn progress(answer: ComputeStatus) -> Progress {
    match answer.status.as_str() {
        "running" => Progress::Running,
        "empty" | "init" | "syncing" | "basebackup" | "starting" => {
            Progress::Waiting(answer.status)
        }
        "failed" => Progress::Ended(format!(
            "compute startup failed: {}",
            answer.error.as_deref().unwrap_or("no reason given")
        )),
        other => Progress::Ended(format!("unexpected compute status: {other}")),
    }
}
