//! The commands of the WAL service, from the text of a query.
//!
//! Keywords are upper case and separated by exactly one blank, as stock clients send them.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::str::FromStr;

use utils::Lsn;

/// A command of the WAL service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A proposer wants to push WAL.
    StartWalPush,
    /// A reader wants WAL.
    StartReplication {
        /// From here on.
        start: Lsn,
        /// Up to what is durable, as long as this is the safekeeper's term. Without a term only
        /// committed WAL is sent.
        term: Option<u64>,
    },
    /// Who are you and how far is your WAL.
    IdentifySystem,
    /// Positions in one row, for a fast start of the compute.
    TimelineStatus,
    /// Append a record by hand, for tests. Carries the JSON text.
    JsonCtrl(String),
    /// A server setting that stock replication clients ask for.
    Show(String),
    /// The history of a PostgreSQL timeline, which is always 1 here.
    TimelineHistory,
}

/// The query is none of the commands.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// The command is known, its arguments are not understood.
    #[error(
        "failed to parse START_REPLICATION command {0:?}: expected START_REPLICATION [SLOT <name>] [PHYSICAL] <LSN> [(term='<N>')]"
    )]
    StartReplication(String),
    /// Nothing this service does.
    #[error("unsupported command {0:?}")]
    Unsupported(String),
}

impl Command {
    /// The label of this command in metrics; `None` for those that stock clients send on the side.
    pub fn metric_label(&self) -> Option<&'static str> {
        match self {
            Command::StartWalPush => Some("START_WAL_PUSH"),
            Command::StartReplication { .. } => Some("START_REPLICATION"),
            Command::IdentifySystem => Some("IDENTIFY_SYSTEM"),
            Command::TimelineStatus => Some("TIMELINE_STATUS"),
            Command::JsonCtrl(_) => Some("JSON_CTRL"),
            Command::Show(_) | Command::TimelineHistory => None,
        }
    }
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(query: &str) -> Result<Self, Self::Err> {
        let query = query.trim();
        if query.starts_with("START_WAL_PUSH") {
            return Ok(Command::StartWalPush);
        }
        if query.starts_with("START_REPLICATION") {
            return parse_start_replication(query)
                .ok_or_else(|| CommandError::StartReplication(query.to_owned()));
        }
        if query.starts_with("IDENTIFY_SYSTEM") {
            return Ok(Command::IdentifySystem);
        }
        if query.starts_with("TIMELINE_STATUS") {
            return Ok(Command::TimelineStatus);
        }
        if query.starts_with("TIMELINE_HISTORY") {
            return Ok(Command::TimelineHistory);
        }
        if let Some(json) = query.strip_prefix("JSON_CTRL") {
            return Ok(Command::JsonCtrl(json.trim().to_owned()));
        }
        if let Some(setting) = query.strip_prefix("SHOW ") {
            return Ok(Command::Show(setting.trim_end_matches(';').trim().to_lowercase()));
        }
        Err(CommandError::Unsupported(query.to_owned()))
    }
}

/// What follows the LSN other than a term option (a stock standby's `TIMELINE 1`) is ignored.
fn parse_start_replication(query: &str) -> Option<Command> {
    let mut rest = query.strip_prefix("START_REPLICATION ")?;
    if let Some(slot) = rest.strip_prefix("SLOT ") {
        rest = slot.split_once(' ')?.1;
    }
    rest = rest.strip_prefix("PHYSICAL ").unwrap_or(rest);
    let (lsn, tail) = rest.split_once(' ').unwrap_or((rest, ""));
    let start = lsn.parse().ok()?;
    Some(Command::StartReplication { start, term: parse_term(tail) })
}

fn parse_term(option: &str) -> Option<u64> {
    let digits = option.strip_prefix("(term='")?.split_once("')")?.0;
    digits.parse().ok()
}

#[cfg(test)]
mod tests;
