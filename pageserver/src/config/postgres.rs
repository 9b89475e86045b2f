//! Section: PostgreSQL's programs, which create the content of new timelines.

use camino::{Utf8Path, Utf8PathBuf};
use postgres_ffi::PgMajor;

use super::ConfigError;
use super::reader::Reader;

/// Where Debian's packages put every major version.
const DEBIAN_DIR: &str = "/usr/lib/postgresql";

/// PostgreSQL's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// The directory with one directory per major version (`pg_distrib_dir`), default
    /// `pg_install` in the working directory. Both `v15/bin` and `15/bin` are looked for in it,
    /// and then in Debian's `/usr/lib/postgresql`.
    pub distrib_dir: Utf8PathBuf,
    /// The superuser that initdb makes (`initial_superuser_name`), default `cloud_admin`.
    pub superuser: String,
    /// The account that initdb runs under while the pageserver runs as root, because PostgreSQL
    /// refuses to (`postgres_os_user`), default `postgres`.
    pub os_user: String,
}

/// A major version is not installed.
#[derive(Debug, thiserror::Error)]
#[error(
    "PostgreSQL {major} is not installed: no bin/initdb in any of {searched}; set pg_distrib_dir to \
     the directory that has v{major} or {major} in it"
)]
pub struct PostgresNotFound {
    /// The version.
    pub major: PgMajor,
    /// The directories that were searched.
    pub searched: String,
}

impl PostgresConfig {
    pub(super) fn read(reader: &mut Reader, workdir: &Utf8Path) -> Result<Self, ConfigError> {
        let distrib_dir = reader.take_string("pg_distrib_dir")?;
        Ok(PostgresConfig {
            distrib_dir: workdir.join(distrib_dir.as_deref().unwrap_or("pg_install")),
            superuser: reader
                .take_string("initial_superuser_name")?
                .unwrap_or_else(|| "cloud_admin".to_owned()),
            os_user: reader
                .take_string("postgres_os_user")?
                .unwrap_or_else(|| "postgres".to_owned()),
        })
    }

    /// The installation of a major version: the directory above `bin`.
    pub fn installation(&self, major: PgMajor) -> Result<Utf8PathBuf, PostgresNotFound> {
        let candidates = [
            self.distrib_dir.join(format!("v{major}")),
            self.distrib_dir.join(major.to_string()),
            Utf8Path::new(DEBIAN_DIR).join(major.to_string()),
        ];
        if let Some(found) = candidates.iter().find(|dir| dir.join("bin/initdb").is_file()) {
            return Ok(found.clone());
        }
        let searched = candidates.map(Utf8PathBuf::into_string).join(", ");
        Err(PostgresNotFound { major, searched })
    }
}
