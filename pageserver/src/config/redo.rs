//! Section: where WAL records are applied to pages.

use std::str::FromStr;
use std::time::Duration;

use camino::Utf8PathBuf;
use postgres_ffi::PgMajor;

use super::ConfigError;
use super::reader::Reader;

/// Stands for the major version in the helper's command.
const VERSION_PLACEHOLDER: &str = "{version}";

/// Which engine applies the records of PostgreSQL's own resource managers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedoEngine {
    /// The one in this process.
    #[default]
    Native,
    /// The helper process.
    Process,
}

/// The text names no engine.
#[derive(Debug, thiserror::Error)]
#[error("unknown engine")]
pub struct UnknownEngine;

impl FromStr for RedoEngine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "native" => Ok(RedoEngine::Native),
            "process" => Ok(RedoEngine::Process),
            _ => Err(UnknownEngine),
        }
    }
}

/// The command of a helper process. `{version}` in it stands for the major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperCommand {
    program: String,
    arguments: Vec<String>,
}

impl HelperCommand {
    /// The program for a version.
    pub fn program(&self, major: PgMajor) -> Utf8PathBuf {
        Utf8PathBuf::from(for_version(&self.program, major))
    }

    /// Its arguments for a version.
    pub fn arguments(&self, major: PgMajor) -> Vec<String> {
        self.arguments.iter().map(|argument| for_version(argument, major)).collect()
    }
}

fn for_version(text: &str, major: PgMajor) -> String {
    text.replace(VERSION_PLACEHOLDER, &major.to_string())
}

/// Where WAL records are applied to pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedoConfig {
    /// Which engine applies the records of built-in resource managers (`wal_redo_engine`), default
    /// `native`. `process` needs `wal_redo_helper`.
    pub engine: RedoEngine,
    /// The command of the helper process (`wal_redo_helper`): a list of the program and its
    /// arguments, in which `{version}` stands for the major version. Pages that records of custom
    /// resource managers change are always its business. Default: none.
    pub helper: Option<HelperCommand>,
    /// How long the helper process may take for a page (`wal_redo_timeout`), default 60 s.
    pub timeout: Duration,
    /// Whether requests that failed are written to the tenant's directory, for reproduction
    /// (`wal_redo_record_failures`), default false.
    pub record_failures: bool,
}

impl RedoConfig {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, ConfigError> {
        let helper = helper_command(reader)?;
        let engine = reader
            .take_parsed::<RedoEngine>("wal_redo_engine", "'native' or 'process'")?
            .unwrap_or_default();
        if engine == RedoEngine::Process && helper.is_none() {
            return Err(ConfigError::Invalid {
                key: "wal_redo_engine",
                value: "'process'".to_owned(),
                reason: "it needs a command in wal_redo_helper, for example \
                         wal_redo_helper = ['/usr/bin/wal_redo', '--pg-version', '{version}']"
                    .to_owned(),
            });
        }
        Ok(RedoConfig {
            engine,
            helper,
            timeout: reader.take_duration("wal_redo_timeout")?.unwrap_or(Duration::from_secs(60)),
            record_failures: reader.take_bool("wal_redo_record_failures")?.unwrap_or(false),
        })
    }
}

fn helper_command(reader: &mut Reader) -> Result<Option<HelperCommand>, ConfigError> {
    let key = "wal_redo_helper";
    let allowed = "a list of strings: the program, then its arguments";
    let Some(words) = reader.take::<Vec<String>>(key, allowed)? else { return Ok(None) };
    match words.split_first() {
        Some((program, arguments)) if program.starts_with('/') => {
            let (program, arguments) = (program.clone(), arguments.to_vec());
            Ok(Some(HelperCommand { program, arguments }))
        }
        Some(_) | None => Err(ConfigError::Invalid {
            key,
            value: format!("{words:?}"),
            reason: "the program must be an absolute path, such as '/usr/bin/wal_redo'".to_owned(),
        }),
    }
}
