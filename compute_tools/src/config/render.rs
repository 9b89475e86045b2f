//! The configuration files of a data directory, as text.

use std::fmt::Write;

use postgres_client::{ConnectOptions, SslMode};
use postgres_ffi::PgMajor;

use crate::config::parse::{ConfError, ConfSetting, parse_conf, quote_value};
use crate::config::policy::{LagLimits, Policy, PolicyError};
use crate::spec::{Cluster, ComputeMode};

/// The slot name a replica announces; safekeepers ignore it.
const REPLICA_APPLICATION_NAME: &str = "replica";

/// What the files are made of.
#[derive(Clone, Copy, Debug)]
pub struct RenderInput<'a> {
    /// The user's cluster.
    pub cluster: &'a Cluster,
    /// Kind of endpoint.
    pub mode: ComputeMode,
    /// Version of the server.
    pub major: PgMajor,
    /// Where a replica streams from.
    pub safekeepers: &'a [ConnectOptions],
    /// Port clients connect to.
    pub port: u16,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Text of postgresql.conf.
    pub text: String,
    /// Settings that go on the command line as well, where neither ALTER SYSTEM nor a reload
    /// can undo them.
    pub pinned: Vec<(&'static str, &'static str)>,
    /// Names of the user's settings that were left out.
    pub dropped: Vec<String>,
    /// Backpressure limits.
    pub lag_limits: LagLimits,
}

/// The user's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A line is wrong.
    #[error(transparent)]
    Syntax(#[from] ConfError),
    /// A setting is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Produces the configuration: defaults, then the user's settings, then what must hold.
pub fn render(input: RenderInput<'_>) -> Result<PostgresConfig, ConfigError> {
    let mut settings = parse_conf(input.cluster.postgresql_conf.as_deref().unwrap_or_default())?;
    let listed = input.cluster.settings.iter().flatten().map(|setting| ConfSetting {
        name: setting.name.to_ascii_lowercase(),
        value: setting.value.clone().unwrap_or_default(),
    });
    settings.extend(listed);
    let wal_level = wal_level(&settings);
    let policy = Policy::decide(settings, input.mode)?;

    let mut text = String::from("# Written by compute_ctl at every start; changes are lost.\n");
    section(&mut text, "Defaults", defaults(input.port));
    let kept = policy.kept.iter().map(|s| (s.name.as_str(), s.value.clone()));
    section(&mut text, "Settings of the endpoint", kept);
    let pinned = pinned(input.mode);
    let required = required(input.mode, input.major, wal_level);
    section(&mut text, "What the storage requires", required);
    section(&mut text, "Pinned", pinned.iter().map(|(name, value)| (*name, (*value).to_owned())));
    if input.mode == ComputeMode::Replica {
        let conninfo = primary_conninfo(input.safekeepers);
        section(&mut text, "Source of WAL", [("primary_conninfo", conninfo)]);
    }
    let Policy { dropped, lag_limits, .. } = policy;
    Ok(PostgresConfig { text, pinned, dropped, lag_limits })
}

fn section<'a>(
    text: &mut String,
    title: &str,
    settings: impl IntoIterator<Item = (&'a str, String)>,
) {
    let _ = writeln!(text, "\n# {title}");
    for (name, value) in settings {
        let _ = writeln!(text, "{name}={}", quote_value(&value));
    }
}

fn defaults(port: u16) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("max_wal_senders", "10".to_owned()),
        ("max_replication_slots", "10".to_owned()),
        ("wal_keep_size", "0".to_owned()),
        // The packager's directory often belongs to another account.
        ("unix_socket_directories", String::new()),
        ("synchronous_commit", "on".to_owned()),
        ("hot_standby", "on".to_owned()),
        // A crash of local data has no meaning: it is rebuilt from the storage.
        ("fsync", "off".to_owned()),
        ("full_page_writes", "off".to_owned()),
    ];
    if overcommit_is_strict() {
        settings.push(("dynamic_shared_memory_type", "mmap".to_owned()));
    }
    settings
}

fn required(mode: ComputeMode, major: PgMajor, wal_level: &str) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("wal_level", wal_level.to_owned()),
        ("wal_log_hints", "off".to_owned()),
        // A server in recovery, which a read-only endpoint always is, panics about tablespaces that
        // are directories otherwise. And whoever creates one can have it like that from the start.
        ("allow_in_place_tablespaces", "on".to_owned()),
    ];
    if major >= PgMajor::V18 {
        settings.push(("io_method", "worker".to_owned()));
    }
    if mode == ComputeMode::Replica {
        // Prefetching would look for blocks in WAL that is not here yet.
        settings.push(("recovery_prefetch", "off".to_owned()));
    }
    settings
}

fn pinned(mode: ComputeMode) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![
        ("restart_after_crash", "off"),
        ("archive_mode", "off"),
        ("max_slot_wal_keep_size", "-1"),
        // Without a quorum the proposer is silent for as long as it takes.
        ("wal_sender_timeout", "0"),
    ];
    if mode == ComputeMode::Primary {
        settings.push(("synchronous_standby_names", "walproposer"));
    }
    settings
}

/// The level that the user asked for, if it is one the storage can work with.
fn wal_level(settings: &[ConfSetting]) -> &'static str {
    let wanted = settings.iter().rev().find(|setting| setting.name == "wal_level");
    match wanted {
        Some(setting) if setting.value.eq_ignore_ascii_case("logical") => "logical",
        _ => "replica",
    }
}

fn primary_conninfo(safekeepers: &[ConnectOptions]) -> String {
    let join = |part: fn(&ConnectOptions) -> String| {
        safekeepers.iter().map(part).collect::<Vec<_>>().join(",")
    };
    let options = safekeepers.first().map(|sk| sk.options.join(" ")).unwrap_or_default();
    let mut conninfo = format!(
        "host={} port={} options='{options}' application_name={REPLICA_APPLICATION_NAME}",
        join(|sk| sk.host.clone()),
        join(|sk| sk.port.to_string()),
    );
    if let Some(tls) = safekeepers.first().map(|sk| &sk.tls)
        && tls.mode != SslMode::Disable
    {
        let _ = write!(conninfo, " sslmode={}", tls.mode);
        if let Some(path) = &tls.root_cert {
            let escaped = path.as_str().replace('\\', "\\\\").replace('\'', "\\'");
            let _ = write!(conninfo, " sslrootcert='{escaped}'");
        }
    }
    if let Some(password) = safekeepers.first().and_then(|sk| sk.password.as_deref()) {
        let escaped = password.replace('\\', "\\\\").replace('\'', "\\'");
        let _ = write!(conninfo, " password='{escaped}'");
    }
    conninfo
}

/// With strict overcommit PostgreSQL's default kind of shared memory cannot be allocated.
fn overcommit_is_strict() -> bool {
    std::fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "2")
}

/// The client authentication rules: compute_ctl's own sessions, then what the backup brought,
/// then passwords for everybody else.
pub fn pg_hba(from_backup: &str, admin: &str) -> String {
    const EVERYBODY: &str = "host\tall\tall\tall\tmd5";
    let mut text = format!(
        "# compute_ctl's own sessions\n\
         local all,replication {admin} trust\n\
         host all,replication {admin} 127.0.0.1/32 trust\n\
         host all,replication {admin} ::1/128 trust\n"
    );
    text.push_str(from_backup);
    if !from_backup.ends_with('\n') {
        text.push('\n');
    }
    if !from_backup.lines().any(|line| line.split_whitespace().eq(EVERYBODY.split_whitespace())) {
        text.push_str(EVERYBODY);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
