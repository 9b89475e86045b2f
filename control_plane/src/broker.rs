//! The storage broker as a background process.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::config::LocalEnv;
use crate::local_http::{self, ClientError};
use crate::ports::{self, PortTaken, WantedPort};
use crate::process::{self, BackgroundProcess, InitialPidFile, ProcessError, Readiness, StopMode};

/// A daemon could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One of its ports is in use.
    #[error(transparent)]
    Port(#[from] PortTaken),
    /// The process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A token could not be signed.
    #[error(transparent)]
    Auth(#[from] utils::auth::AuthError),
    /// No HTTP client could be made.
    #[error(transparent)]
    Http(#[from] ClientError),
}

const NAME: &str = "storage_broker";

/// Its pid file.
pub fn pid_file(env: &LocalEnv) -> Utf8PathBuf {
    env.repo_dir.join("storage_broker.pid")
}

/// The ports it listens on.
pub fn ports(env: &LocalEnv) -> Vec<WantedPort> {
    vec![WantedPort {
        address: env.config.broker.listen_addr,
        purpose: "the storage broker".to_owned(),
        remedy: format!("set listen_addr of [broker] in {}/config", env.repo_dir),
    }]
}

/// Starts it.
pub async fn start(env: &LocalEnv, timeout: Duration) -> Result<(), StartError> {
    let listen_addr = env.config.broker.listen_addr;
    println!("Starting neon broker at {listen_addr}");
    let process = BackgroundProcess {
        name: NAME.to_owned(),
        datadir: env.repo_dir.clone(),
        program: env.binary(NAME),
        args: arguments(env),
        env: Vec::new(),
        pid_file: InitialPidFile::Create(pid_file(env)),
    };
    let status_url = format!("{}/status", env.config.broker_url());
    start_daemon(env, &process, ports(env), &status_url, timeout).await
}

fn arguments(env: &LocalEnv) -> Vec<String> {
    let listen_addr = env.config.broker.listen_addr;
    match env.certificates() {
        None => vec![format!("--listen-addr={listen_addr}")],
        Some(files) => vec![
            format!("--listen-https-addr={listen_addr}"),
            format!("--ssl-cert-file={}", files.cert_file),
            format!("--ssl-key-file={}", files.key_file),
        ],
    }
}

/// Stops it; it has nothing to lose, so always at once.
pub async fn stop(env: &LocalEnv) -> Result<(), ProcessError> {
    process::stop(NAME, &pid_file(env), StopMode::Immediate).await
}

/// Starts a daemon unless it runs, after a look at its ports.
pub(crate) async fn start_daemon(
    env: &LocalEnv,
    process: &BackgroundProcess,
    ports: Vec<WantedPort>,
    status_url: &str,
    timeout: Duration,
) -> Result<(), StartError> {
    let http = local_http::client_trusting(env.certificates().as_ref())?;
    if !process.is_running()? {
        for wanted in ports {
            ports::check(wanted)?;
        }
    }
    let status = async || -> Readiness { local_http::check_status(&http, status_url).await };
    process.start(timeout, status).await?;
    Ok(())
}
