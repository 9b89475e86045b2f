//! Where PostgreSQL and the daemons' binaries are.

use camino::{Utf8Path, Utf8PathBuf};
use postgres_ffi::PgMajor;

use crate::config::{ConfigError, current_dir};

/// Environment variable with the parent of PostgreSQL's version directories; read by `init`.
pub const POSTGRES_DISTRIB_DIR_ENV: &str = "POSTGRES_DISTRIB_DIR";
/// Where Debian's packages are.
const SYSTEM_DISTRIB_DIR: &str = "/usr/lib/postgresql";

/// A PostgreSQL version is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "PostgreSQL {major} is not found: neither {distrib_dir}/v{major}/bin/postgres nor \
     {distrib_dir}/{major}/bin/postgres exists; install it, or set pg_distrib_dir in the config file"
)]
pub struct PostgresNotFound {
    major: PgMajor,
    distrib_dir: Utf8PathBuf,
}

/// One installed PostgreSQL version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresInstall {
    root: Utf8PathBuf,
}

impl PostgresInstall {
    /// Finds a version below `distrib_dir`, as `v15` or as `15`.
    pub fn find(distrib_dir: &Utf8Path, major: PgMajor) -> Result<Self, PostgresNotFound> {
        [format!("v{major}"), major.to_string()]
            .iter()
            .map(|name| PostgresInstall { root: distrib_dir.join(name) })
            .find(|install| install.program("postgres").exists())
            .ok_or_else(|| PostgresNotFound { major, distrib_dir: distrib_dir.to_owned() })
    }

    /// Path of one of its programs.
    pub fn program(&self, name: &str) -> Utf8PathBuf {
        self.root.join("bin").join(name)
    }

    /// Directory of its libraries.
    pub fn lib_dir(&self) -> Utf8PathBuf {
        self.root.join("lib")
    }
}

/// The `pg_distrib_dir` of a new repo that is not told one: the environment's, else
/// `pg_install` here, else the system's packages.
pub fn default_pg_distrib_dir() -> Result<Utf8PathBuf, ConfigError> {
    if let Ok(dir) = std::env::var(POSTGRES_DISTRIB_DIR_ENV) {
        return Ok(dir.into());
    }
    let built = current_dir()?.join("pg_install");
    let system = Utf8PathBuf::from(SYSTEM_DISTRIB_DIR);
    Ok(if built.exists() || !system.exists() { built } else { system })
}

/// The `neon_distrib_dir` of a new repo that is not told one: where this program is.
pub fn own_dir() -> Result<Utf8PathBuf, ConfigError> {
    let invalid = |reason: String| ConfigError::Invalid { path: "<own executable>".into(), reason };
    let program = std::env::current_exe().map_err(|error| invalid(error.to_string()))?;
    let program = Utf8PathBuf::from_path_buf(program)
        .map_err(|path| invalid(format!("{} is not UTF-8", path.display())))?;
    let dir = program.parent().ok_or_else(|| invalid("it has no directory".to_owned()))?;
    Ok(dir.to_owned())
}

#[cfg(test)]
mod tests;
