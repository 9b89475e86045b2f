//! Which of the user's settings may stand.
//!
//! Three kinds do not: those that other launchers write for a patched server are dropped,
//! those that compute_ctl decides itself are replaced, and those that would break the contract
//! between PostgreSQL and the storage are refused by name.

use crate::config::parse::ConfSetting;
use crate::spec::ComputeMode;

/// Limits on how far the storage may lag behind the WAL, in bytes; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagLimits {
    /// Behind what the pageserver has received.
    pub write_bytes: u64,
    /// Behind what the pageserver has on disk.
    pub flush_bytes: u64,
    /// Behind what the pageserver has in remote storage.
    pub apply_bytes: u64,
}

impl Default for LagLimits {
    fn default() -> Self {
        Self { write_bytes: 500 << 20, flush_bytes: 10 << 30, apply_bytes: 0 }
    }
}

/// A setting that would break the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSetting {
    /// Parameter name.
    pub name: String,
    /// Value the user wants.
    pub value: String,
    /// Why it cannot be.
    pub reason: &'static str,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// Settings that would break the contract.
    #[error("the spec has settings that this system cannot run with; remove them: {}", list(.0))]
    Refused(Vec<RefusedSetting>),
    /// A lag limit that is not a size.
    #[error(
        "{name} = {value:?} is not a size: expected a number, optionally with kB, MB, GB or TB"
    )]
    BadSize {
        /// Parameter name.
        name: String,
        /// Its value.
        value: String,
    },
}

fn list(refused: &[RefusedSetting]) -> String {
    let texts: Vec<_> = refused
        .iter()
        .map(|setting| format!("{} = {:?} ({})", setting.name, setting.value, setting.reason))
        .collect();
    texts.join("; ")
}

/// The user's settings after the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Settings that stand, in order.
    pub kept: Vec<ConfSetting>,
    /// Names of settings that were left out.
    pub dropped: Vec<String>,
    /// Limits found among the dropped ones.
    pub lag_limits: LagLimits,
}

enum Verdict {
    Keep,
    KeepAs(String),
    Drop,
    Refuse(&'static str),
}

impl Policy {
    /// Decides about every setting.
    pub fn decide(settings: Vec<ConfSetting>, mode: ComputeMode) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        let mut refused = Vec::new();
        for setting in settings {
            if let Some(limit) = policy.lag_limits.by_name(&setting.name) {
                *limit = parse_size_bytes(&setting)?;
            }
            match verdict(&setting, mode) {
                Verdict::Keep => policy.kept.push(setting),
                Verdict::KeepAs(value) => {
                    policy.kept.push(ConfSetting { name: setting.name, value });
                }
                Verdict::Drop => policy.dropped.push(setting.name),
                Verdict::Refuse(reason) => {
                    let ConfSetting { name, value } = setting;
                    refused.push(RefusedSetting { name, value, reason });
                }
            }
        }
        if refused.is_empty() { Ok(policy) } else { Err(PolicyError::Refused(refused)) }
    }
}

impl LagLimits {
    fn by_name(&mut self, name: &str) -> Option<&mut u64> {
        match name {
            "max_replication_write_lag" => Some(&mut self.write_bytes),
            "max_replication_flush_lag" => Some(&mut self.flush_bytes),
            "max_replication_apply_lag" => Some(&mut self.apply_bytes),
            _ => None,
        }
    }
}

/// A size as PostgreSQL writes it; a bare number counts megabytes, the unit of these settings.
fn parse_size_bytes(setting: &ConfSetting) -> Result<u64, PolicyError> {
    let error =
        || PolicyError::BadSize { name: setting.name.clone(), value: setting.value.clone() };
    let text = setting.value.trim();
    if text.starts_with('-') {
        return Ok(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| error())?;
    let shift = match unit.trim() {
        "B" => 0,
        "kB" => 10,
        "" | "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return Err(error()),
    };
    number.checked_mul(1 << shift).ok_or_else(error)
}

fn is_off(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "off" | "false" | "no" | "0" | "f" | "n" | "of")
}

fn verdict(setting: &ConfSetting, mode: ComputeMode) -> Verdict {
    let value = setting.value.as_str();
    let primary = mode == ComputeMode::Primary;
    match setting.name.as_str() {
        // Settings of a patched server.
        "max_replication_write_lag" | "max_replication_flush_lag" | "max_replication_apply_lag" => {
            Verdict::Drop
        }
        name if name.starts_with("neon.") => Verdict::Drop,
        "shared_preload_libraries" => without_neon(value),
        // Decided by compute_ctl.
        "wal_sender_timeout" | "recovery_target_lsn" | "primary_conninfo" | "primary_slot_name" => {
            Verdict::Drop
        }
        "max_wal_senders" | "max_replication_slots" => at_least(value, MIN_WAL_SENDERS),
        // What the contract rests on.
        "synchronous_standby_names" if primary => {
            refuse_unless(value == "walproposer", "commits must wait for the safekeepers")
        }
        "synchronous_standby_names" => Verdict::Drop,
        "restart_after_crash" => refuse_unless(
            is_off(value),
            "local data is not durable; after a crash the endpoint starts from the storage",
        ),
        "allow_in_place_tablespaces" => refuse_unless(
            !is_off(value),
            "tablespaces are directories in the data directory that the endpoint starts with",
        ),
        "archive_mode" => refuse_unless(is_off(value), "the safekeepers archive WAL"),
        "wal_log_hints" => refuse_unless(is_off(value), "it multiplies WAL for no benefit here"),
        "wal_level" => refuse_unless(
            !value.eq_ignore_ascii_case("minimal"),
            "the storage is built from WAL: replica or logical",
        ),
        "max_slot_wal_keep_size" => {
            refuse_unless(value == "-1", "WAL must stay until the safekeepers have it")
        }
        "io_method" => refuse_unless(
            !value.eq_ignore_ascii_case("io_uring"),
            "page reads must go through system calls: worker or sync",
        ),
        "data_directory" | "config_file" | "hba_file" | "ident_file" => {
            Verdict::Refuse("compute_ctl builds the data directory")
        }
        "restore_command"
        | "recovery_end_command"
        | "archive_cleanup_command"
        | "recovery_target"
        | "recovery_target_name"
        | "recovery_target_time"
        | "recovery_target_xid"
        | "recovery_target_timeline" => {
            Verdict::Refuse("recovery happens in the storage; make a branch at the wanted LSN")
        }
        _ => Verdict::Keep,
    }
}

const MIN_WAL_SENDERS: u32 = 10;

fn refuse_unless(fine: bool, reason: &'static str) -> Verdict {
    if fine { Verdict::Drop } else { Verdict::Refuse(reason) }
}

fn at_least(value: &str, minimum: u32) -> Verdict {
    match value.parse::<u32>() {
        Ok(number) if number < minimum => Verdict::KeepAs(minimum.to_string()),
        // PostgreSQL reports values that are no numbers better than we could.
        Ok(_) | Err(_) => Verdict::Keep,
    }
}

fn without_neon(value: &str) -> Verdict {
    let libraries: Vec<_> =
        value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let kept: Vec<_> = libraries.iter().copied().filter(|name| *name != "neon").collect();
    match kept.len() {
        0 => Verdict::Drop,
        count if count == libraries.len() => Verdict::Keep,
        _ => Verdict::KeepAs(kept.join(",")),
    }
}

#[cfg(test)]
mod tests;
