//! The text of a command, taken apart.

use pageserver_api::TenantShardId;
use pageserver_api::pagestream::ProtocolVersion;
use postgres_ffi::PgMajor;
use utils::{Lsn, TenantId, TimelineId};

/// A command of the page service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Pagestream {
        version: ProtocolVersion,
        tenant: TenantId,
        timeline: TimelineId,
    },
    Basebackup {
        tenant: TenantId,
        timeline: TimelineId,
        lsn: Option<Lsn>,
        gzip: bool,
    },
    Fullbackup {
        tenant: TenantId,
        timeline: TimelineId,
        lsn: Option<Lsn>,
        prev: Option<Lsn>,
    },
    LeaseLsn {
        shard: TenantShardId,
        timeline: TimelineId,
        lsn: Lsn,
    },
    ImportBasebackup {
        tenant: TenantId,
        timeline: TimelineId,
        base_lsn: Lsn,
        end_lsn: Lsn,
        major: PgMajor,
    },
    ImportWal {
        tenant: TenantId,
        timeline: TimelineId,
        start_lsn: Lsn,
        end_lsn: Lsn,
    },
    Show {
        tenant: TenantId,
    },
    GetLastRecordRlsn {
        tenant: TenantId,
        timeline: TimelineId,
        awaited: Option<Lsn>,
    },
    GetCheckpoint {
        tenant: TenantId,
        timeline: TimelineId,
    },
    Set,
}

/// The text is no command.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CommandError {
    #[error("unknown command {0}")]
    Unknown(String),
    #[error("invalid param number for {0} command")]
    ParameterCount(&'static str),
    #[error("invalid param number {0} for lease lsn command")]
    LeaseParameterCount(usize),
    #[error("Parameter in position 3 unknown {0}")]
    UnknownFlag(String),
    #[error("Failed to parse {what} from {text}: {cause}")]
    Value { what: &'static str, text: String, cause: String },
}

fn parse<T>(what: &'static str, text: &str) -> Result<T, CommandError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|cause: T::Err| CommandError::Value {
        what,
        text: text.to_owned(),
        cause: cause.to_string(),
    })
}

fn parse_major(text: &str) -> Result<PgMajor, CommandError> {
    let number: u32 = parse("pg_version", text)?;
    PgMajor::try_from(number).map_err(|cause| CommandError::Value {
        what: "pg_version",
        text: text.to_owned(),
        cause: cause.to_string(),
    })
}

fn ids(parameters: &[&str], command: &'static str) -> Result<(TenantId, TimelineId), CommandError> {
    match parameters {
        [tenant, timeline, ..] => {
            Ok((parse("tenant id", tenant)?, parse("timeline id", timeline)?))
        }
        _ => Err(CommandError::ParameterCount(command)),
    }
}

fn exactly_ids(
    parameters: &[&str],
    command: &'static str,
) -> Result<(TenantId, TimelineId), CommandError> {
    if parameters.len() != 2 {
        return Err(CommandError::ParameterCount(command));
    }
    ids(parameters, command)
}

fn optional_lsn(parameters: &[&str], position: usize) -> Result<Option<Lsn>, CommandError> {
    parameters.get(position).map(|text| parse("Lsn", text)).transpose()
}

impl Command {
    pub(super) fn parse(text: &str) -> Result<Self, CommandError> {
        if text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("set ")) {
            return Ok(Command::Set);
        }
        if let Some(rest) = text.strip_prefix("lease lsn ") {
            return Self::parse_lease(&rest.split_ascii_whitespace().collect::<Vec<_>>());
        }
        if let Some(rest) = text.strip_prefix("import basebackup ") {
            return Self::parse_import_basebackup(
                &rest.split_ascii_whitespace().collect::<Vec<_>>(),
            );
        }
        if let Some(rest) = text.strip_prefix("import wal ") {
            return Self::parse_import_wal(&rest.split_ascii_whitespace().collect::<Vec<_>>());
        }
        let mut words = text.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default();
        let parameters: Vec<&str> = words.collect();
        match verb {
            "pagestream_v2" => Self::parse_pagestream(ProtocolVersion::V2, &parameters),
            "pagestream" => Self::parse_pagestream(ProtocolVersion::V1, &parameters),
            "basebackup" => Self::parse_basebackup(&parameters),
            "fullbackup" => {
                let (tenant, timeline) = ids(&parameters, "fullbackup")?;
                let lsn = optional_lsn(&parameters, 2)?;
                let prev = optional_lsn(&parameters, 3)?;
                Ok(Command::Fullbackup { tenant, timeline, lsn, prev })
            }
            "show" => match parameters.as_slice() {
                [tenant] => Ok(Command::Show { tenant: parse("tenant id", tenant)? }),
                _ => Err(CommandError::ParameterCount("config")),
            },
            "get_last_record_rlsn" => {
                let (tenant, timeline) = ids(&parameters, "get_last_record_rlsn")?;
                let awaited = optional_lsn(&parameters, 2)?;
                Ok(Command::GetLastRecordRlsn { tenant, timeline, awaited })
            }
            "get_checkpoint" => {
                let (tenant, timeline) = exactly_ids(&parameters, "get_checkpoint")?;
                Ok(Command::GetCheckpoint { tenant, timeline })
            }
            _ => Err(CommandError::Unknown(text.to_owned())),
        }
    }

    fn parse_pagestream(
        version: ProtocolVersion,
        parameters: &[&str],
    ) -> Result<Self, CommandError> {
        let (tenant, timeline) = exactly_ids(parameters, "pagestream")?;
        Ok(Command::Pagestream { version, tenant, timeline })
    }

    fn parse_basebackup(parameters: &[&str]) -> Result<Self, CommandError> {
        let (tenant, timeline) = ids(parameters, "basebackup")?;
        let lsn = optional_lsn(parameters, 2)?;
        let gzip = match parameters.get(3) {
            None => false,
            Some(&"--gzip") => true,
            Some(other) => return Err(CommandError::UnknownFlag((*other).to_owned())),
        };
        Ok(Command::Basebackup { tenant, timeline, lsn, gzip })
    }

    fn parse_lease(parameters: &[&str]) -> Result<Self, CommandError> {
        match parameters {
            [shard, timeline, lsn] => Ok(Command::LeaseLsn {
                shard: parse("tenant id", shard)?,
                timeline: parse("timeline id", timeline)?,
                lsn: parse("Lsn", lsn)?,
            }),
            _ => Err(CommandError::LeaseParameterCount(parameters.len())),
        }
    }

    fn parse_import_basebackup(parameters: &[&str]) -> Result<Self, CommandError> {
        let [tenant, timeline, base_lsn, end_lsn, version] = parameters else {
            return Err(CommandError::ParameterCount("import basebackup"));
        };
        Ok(Command::ImportBasebackup {
            tenant: parse("tenant id", tenant)?,
            timeline: parse("timeline id", timeline)?,
            base_lsn: parse("Lsn", base_lsn)?,
            end_lsn: parse("Lsn", end_lsn)?,
            major: parse_major(version)?,
        })
    }

    fn parse_import_wal(parameters: &[&str]) -> Result<Self, CommandError> {
        let [tenant, timeline, start_lsn, end_lsn] = parameters else {
            return Err(CommandError::ParameterCount("import wal"));
        };
        Ok(Command::ImportWal {
            tenant: parse("tenant id", tenant)?,
            timeline: parse("timeline id", timeline)?,
            start_lsn: parse("Lsn", start_lsn)?,
            end_lsn: parse("Lsn", end_lsn)?,
        })
    }

    /// The tenant that the client must have access to; `None` for commands that need no access.
    pub(super) fn tenant(&self) -> Option<TenantId> {
        match self {
            Command::Pagestream { tenant, .. }
            | Command::Basebackup { tenant, .. }
            | Command::Fullbackup { tenant, .. }
            | Command::ImportBasebackup { tenant, .. }
            | Command::ImportWal { tenant, .. }
            | Command::Show { tenant }
            | Command::GetLastRecordRlsn { tenant, .. }
            | Command::GetCheckpoint { tenant, .. } => Some(*tenant),
            Command::LeaseLsn { shard, .. } => Some(shard.tenant_id),
            Command::Set => None,
        }
    }

    /// The value of the `command` label of the command counter, for the commands it counts.
    pub(super) fn label(&self) -> Option<&'static str> {
        match self {
            Command::Pagestream { version: ProtocolVersion::V1, .. } => Some("PageStream"),
            Command::Pagestream { version: ProtocolVersion::V2, .. } => Some("PageStreamV2"),
            Command::Basebackup { .. } => Some("Basebackup"),
            Command::Fullbackup { .. } => Some("Fullbackup"),
            Command::LeaseLsn { .. } => Some("LeaseLsn"),
            Command::ImportBasebackup { .. } => Some("ImportBasebackup"),
            Command::ImportWal { .. } => Some("ImportWal"),
            Command::Show { .. } => Some("Show"),
            Command::GetLastRecordRlsn { .. } => Some("GetLastRecordRlsn"),
            Command::GetCheckpoint { .. } => Some("GetCheckpoint"),
            Command::Set => None,
        }
    }
}

#[cfg(test)]
mod tests;
