//! Pageservers as background processes, and talking to them.

use std::time::Duration;

use camino::Utf8PathBuf;
use pageserver_api::client::{Client, ClientError};
use utils::NodeId;
use utils::auth::{AuthError, Scope};
use utils::backoff::{
    DEFAULT_BASE_BACKOFF_SECONDS, DEFAULT_MAX_BACKOFF_SECONDS, exponential_backoff_duration,
};

use crate::broker::{StartError, start_daemon};
use crate::config::{AuthType, LocalEnv, PageserverConf, resolve};
use crate::ports::WantedPort;
use crate::process::{self, BackgroundProcess, InitialPidFile, ProcessError, StopMode};
use crate::{local_http, tokens};

const NAME: &str = "pageserver";
/// With growing waits between them, about ten seconds.
const BUSY_RETRIES: u32 = 8;

/// There is no such pageserver.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("could not find pageserver {id}, have ids {known}")]
pub struct PageserverNotFound {
    id: NodeId,
    known: String,
}

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientSetupError {
    /// The token could not be signed.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The HTTP library refuses.
    #[error("could not set up an HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// Finds a pageserver by its id.
pub fn find(env: &LocalEnv, id: NodeId) -> Result<&PageserverConf, PageserverNotFound> {
    env.pageservers.iter().find(|pageserver| pageserver.id == id).ok_or_else(|| {
        let known: Vec<String> = env
            .pageservers
            .iter()
            .map(|known| format!("{}:{}", known.id, known.listen_http_addr))
            .collect();
        PageserverNotFound { id, known: known.join(",") }
    })
}

/// Its pid file.
pub fn pid_file(env: &LocalEnv, conf: &PageserverConf) -> Utf8PathBuf {
    conf.directory(&env.repo_dir).join("pageserver.pid")
}

/// A client of its HTTP API, with a token if it wants one.
pub fn client(env: &LocalEnv, conf: &PageserverConf) -> Result<Client, ClientSetupError> {
    let token = match conf.http_auth_type {
        AuthType::Trust => None,
        AuthType::NeonJWT => Some(tokens::scoped(env, Scope::PageServerApi)?),
    };
    Ok(Client::new(local_http::client()?, &conf.http_url(), token))
}

/// Repeats a call as long as the pageserver says that it is busy, for some seconds. Only for
/// calls that may be repeated.
pub async fn retry_while_busy<T>(
    call: impl AsyncFn() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    // A pageserver that does not answer at all will not do so in a few seconds either.
    let is_busy = |error: &ClientError| error.status().is_some() && error.is_transient();
    for attempt in 1..=BUSY_RETRIES {
        match call().await {
            Err(error) if is_busy(&error) => {
                let wait = exponential_backoff_duration(
                    attempt,
                    DEFAULT_BASE_BACKOFF_SECONDS,
                    DEFAULT_MAX_BACKOFF_SECONDS,
                );
                tokio::time::sleep(wait).await;
            }
            result => return result,
        }
    }
    call().await
}

/// The ports it listens on.
pub fn ports(env: &LocalEnv, conf: &PageserverConf) -> Vec<WantedPort> {
    let wanted = |(host, port): (&str, u16), service: &str, key: &str| WantedPort {
        address: resolve(host, port),
        purpose: format!("the {service} of pageserver {}", conf.id),
        remedy: format!("set {key} in {}/pageserver.toml", conf.directory(&env.repo_dir)),
    };
    vec![
        wanted(conf.pg_host_port(), "page service", "listen_pg_addr"),
        wanted(conf.http_host_port(), "HTTP service", "listen_http_addr"),
    ]
}

/// Starts it.
pub async fn start(
    env: &LocalEnv,
    conf: &PageserverConf,
    timeout: Duration,
) -> Result<(), StartError> {
    let datadir = conf.directory(&env.repo_dir);
    let (host, port) = conf.pg_host_port();
    println!(
        "Starting pageserver node {} at '{host}:{port}' in \"{datadir}\", retrying for {timeout:?}",
        conf.id
    );
    let token_env = match conf.http_auth_type {
        AuthType::Trust => Vec::new(),
        AuthType::NeonJWT => {
            vec![("NEON_AUTH_TOKEN".to_owned(), tokens::scoped(env, Scope::SafekeeperData)?)]
        }
    };
    let process = BackgroundProcess {
        name: NAME.to_owned(),
        program: env.binary(NAME),
        args: vec!["-D".to_owned(), datadir.to_string()],
        env: token_env,
        pid_file: InitialPidFile::Expect(pid_file(env, conf)),
        datadir,
    };
    let status_url = format!("{}/v1/status", conf.http_url());
    start_daemon(env, &process, ports(env, conf), &status_url, timeout).await
}

/// Stops it.
pub async fn stop(
    env: &LocalEnv,
    conf: &PageserverConf,
    mode: StopMode,
) -> Result<(), ProcessError> {
    process::stop(NAME, &pid_file(env, conf), mode).await
}
