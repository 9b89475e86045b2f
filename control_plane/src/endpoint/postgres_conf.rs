//! The `postgresql.conf` that a new endpoint gets. Users append to it; compute_ctl takes it
//! from the spec and adds what the storage needs.

use tls::ClientTls;

use super::{ComputeMode, EndpointConf};
use crate::config::SafekeeperConf;

/// Where a replica finds WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryConnection {
    /// Host of a safekeeper.
    pub host: String,
    /// Its port for computes.
    pub port: u16,
}

impl PrimaryConnection {
    /// Of each safekeeper.
    pub fn of_safekeepers(safekeepers: &[SafekeeperConf]) -> Vec<PrimaryConnection> {
        let connection = |safekeeper: &SafekeeperConf| PrimaryConnection {
            host: safekeeper.listen_addr.clone().unwrap_or_else(|| "localhost".to_owned()),
            port: safekeeper.compute_port(),
        };
        safekeepers.iter().map(connection).collect()
    }
}

/// The settings of a new endpoint, in the order of the file.
pub(super) fn settings(
    conf: &EndpointConf,
    safekeepers: &[PrimaryConnection],
    tls: &ClientTls,
) -> Vec<(&'static str, String)> {
    let port = conf.pg_port.to_string();
    let mut settings: Vec<(&str, String)> = [
        ("max_wal_senders", "10"),
        ("wal_log_hints", "off"),
        ("max_replication_slots", "10"),
        ("hot_standby", "on"),
        ("shared_buffers", "1MB"),
        // The data directory is disposable: the safekeepers are what makes commits durable.
        ("fsync", "off"),
        ("max_connections", "100"),
        ("wal_level", "logical"),
        // The walproposer is not asked for signs of life.
        ("wal_sender_timeout", "0"),
        ("listen_addresses", "127.0.0.1"),
        ("port", port.as_str()),
        ("wal_keep_size", "0"),
        // After a crash the directory is rebuilt, never recovered.
        ("restart_after_crash", "off"),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.to_owned()))
    .collect();
    match conf.mode {
        ComputeMode::Primary => {
            settings.push(("synchronous_standby_names", "walproposer".to_owned()));
        }
        ComputeMode::Static(_) => {}
        ComputeMode::Replica => {
            settings.push(("primary_conninfo", primary_conninfo(conf, safekeepers, tls)));
            settings.push(("primary_slot_name", format!("repl_{}_", conf.timeline_id)));
            settings.push(("recovery_prefetch", "off".to_owned()));
        }
    }
    settings
}

fn primary_conninfo(
    conf: &EndpointConf,
    safekeepers: &[PrimaryConnection],
    tls: &ClientTls,
) -> String {
    let hosts: Vec<&str> = safekeepers.iter().map(|sk| sk.host.as_str()).collect();
    let ports: Vec<String> = safekeepers.iter().map(|sk| sk.port.to_string()).collect();
    let encryption = match &tls.root_cert {
        None => String::new(),
        Some(ca_file) => format!(" sslmode={} sslrootcert={ca_file}", tls.mode),
    };
    format!(
        "host={} port={} options='-c timeline_id={} tenant_id={}' application_name=replica \
         replication=true{encryption}",
        hosts.join(","),
        ports.join(","),
        conf.timeline_id,
        conf.tenant_id
    )
}

/// The file's text, a line per setting.
pub(super) fn render(settings: &[(&str, String)]) -> String {
    settings.iter().map(|(name, value)| format!("{name}={}\n", quote(value))).collect()
}

/// Numbers with units and single words stand bare; all else is quoted.
fn quote(value: &str) -> String {
    if is_number(value) || is_word(value) {
        return value.to_owned();
    }
    let escaped = value.replace('\\', "\\\\").replace('\n', "\\n").replace('\'', "''");
    format!("'{escaped}'")
}

fn is_number(value: &str) -> bool {
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    let unit = unsigned.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < unsigned.len() && unit.chars().all(|c| c.is_ascii_alphabetic())
}

fn is_word(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
