//! Safekeepers as background processes.

use std::time::Duration;

use camino::Utf8PathBuf;
use utils::NodeId;
use utils::auth::Scope;

use crate::broker::{StartError, start_daemon};
use crate::config::{LocalEnv, SafekeeperConf};
use crate::ports::WantedPort;
use crate::process::{self, BackgroundProcess, InitialPidFile, ProcessError, StopMode};
use crate::tokens;

/// There is no such safekeeper.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("could not find safekeeper {0}")]
pub struct SafekeeperNotFound(pub NodeId);

/// Finds a safekeeper by its id.
pub fn find(env: &LocalEnv, id: NodeId) -> Result<&SafekeeperConf, SafekeeperNotFound> {
    env.config.safekeepers.iter().find(|sk| sk.id == id).ok_or(SafekeeperNotFound(id))
}

/// Where it keeps its data.
pub fn datadir(env: &LocalEnv, conf: &SafekeeperConf) -> Utf8PathBuf {
    env.repo_dir.join("safekeepers").join(format!("sk{}", conf.id))
}

/// Its pid file.
pub fn pid_file(env: &LocalEnv, conf: &SafekeeperConf) -> Utf8PathBuf {
    datadir(env, conf).join("safekeeper.pid")
}

/// The ports it listens on.
pub fn ports(env: &LocalEnv, conf: &SafekeeperConf) -> Vec<WantedPort> {
    let services = [
        (Some(conf.pg_port), "WAL service", "pg_port"),
        (conf.pg_tenant_only_port, "WAL service for tenants", "pg_tenant_only_port"),
        (Some(conf.http_port), "HTTP service", "http_port"),
        (conf.https_port, "HTTPS service", "https_port"),
    ];
    let wanted = |(port, service, key): (Option<u16>, &str, &str)| {
        Some(WantedPort {
            address: crate::config::resolve(conf.host(), port?),
            purpose: format!("the {service} of safekeeper {}", conf.id),
            remedy: format!(
                "set {key} of the [[safekeepers]] entry with id = {} in {}/config",
                conf.id, env.repo_dir
            ),
        })
    };
    services.into_iter().filter_map(wanted).collect()
}

/// Starts it. `extra_options` follow all others, and win over them.
pub async fn start(
    env: &LocalEnv,
    conf: &SafekeeperConf,
    extra_options: &[String],
    timeout: Duration,
) -> Result<(), StartError> {
    let datadir = datadir(env, conf);
    println!(
        "Starting safekeeper at '{}:{}' in '{datadir}', retrying for {timeout:?}",
        conf.host(),
        conf.pg_port
    );
    let token_env = match conf.auth_enabled {
        true => {
            vec![("SAFEKEEPER_AUTH_TOKEN".to_owned(), tokens::scoped(env, Scope::SafekeeperData)?)]
        }
        false => Vec::new(),
    };
    let mut args = arguments(env, conf);
    args.extend_from_slice(extra_options);
    let process = BackgroundProcess {
        name: format!("safekeeper-{}", conf.id),
        program: env.binary("safekeeper"),
        args,
        env: token_env,
        pid_file: InitialPidFile::Expect(pid_file(env, conf)),
        datadir,
    };
    let status_url = format!("http://{}:{}/v1/status", conf.host(), conf.http_port);
    start_daemon(env, &process, ports(env, conf), &status_url, timeout).await
}

/// Stops it.
pub async fn stop(
    env: &LocalEnv,
    conf: &SafekeeperConf,
    mode: StopMode,
) -> Result<(), ProcessError> {
    process::stop(&format!("safekeeper-{}", conf.id), &pid_file(env, conf), mode).await
}

fn arguments(env: &LocalEnv, conf: &SafekeeperConf) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("-D", datadir(env, conf).into_string());
    option("--id", conf.id.to_string());
    option("--listen-pg", format!("{}:{}", conf.host(), conf.pg_port));
    option("--listen-http", format!("{}:{}", conf.host(), conf.http_port));
    option("--availability-zone", format!("sk-{}", conf.id));
    if let Some(port) = conf.pg_tenant_only_port {
        option("--listen-pg-tenant-only", format!("{}:{port}", conf.host()));
    }
    option("--broker-endpoint", env.config.broker_url());
    if let Some(threads) = conf.backup_threads {
        option("--wal-backup-parallel-jobs", threads.to_string());
    }
    if let Some(storage) = &conf.remote_storage {
        option("--remote-storage", storage.clone());
    }
    if conf.auth_enabled {
        let key = env.public_key_path().into_string();
        option("--pg-auth-public-key-path", key.clone());
        option("--pg-tenant-only-auth-public-key-path", key.clone());
        option("--http-auth-public-key-path", key);
    }
    if let Some(files) = env.certificates() {
        option("--ssl-cert-file", files.cert_file.into_string());
        option("--ssl-key-file", files.key_file.into_string());
        option("--ssl-ca-file", files.ca_file.into_string());
        if let Some(port) = conf.https_port {
            option("--listen-https", format!("{}:{port}", conf.host()));
        }
        args.push("--enable-tls-wal-service-api".to_owned());
    }
    if !conf.sync {
        args.push("--no-sync".to_owned());
    }
    args
}

#[cfg(test)]
mod tests;
