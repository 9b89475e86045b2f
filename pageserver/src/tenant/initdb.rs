//! The content of a new timeline's root: a fresh cluster made by PostgreSQL's own initdb, and the
//! archive of it that is kept in remote storage.

mod archive;

use std::ffi::OsString;
use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};
use nix::unistd::{Uid, User, chown};
use postgres_ffi::PgMajor;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::config::{PostgresConfig, PostgresNotFound};

pub use archive::{ArchiveError, pack, unpack};

/// A fresh cluster could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitdbError {
    /// The version is not installed.
    #[error(transparent)]
    NotInstalled(#[from] PostgresNotFound),
    /// The account that initdb runs under does not exist.
    #[error(
        "cannot run initdb as root, and there is no account {0:?} to run it under; set \
         postgres_os_user to an existing account"
    )]
    NoAccount(String),
    /// Something about files or processes failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// initdb said no.
    #[error("initdb failed with {status}: {stderr}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// The caller gave up.
    #[error("initdb was cancelled")]
    Cancelled,
}

/// A directory for a cluster. It is removed when dropped.
#[derive(Debug)]
pub struct ClusterDirectory {
    path: Utf8PathBuf,
    /// Owns the directory when it lies outside the tenant's.
    _scratch: Option<tempfile::TempDir>,
    account: Option<User>,
}

impl ClusterDirectory {
    /// Makes an empty directory. As root it is made in the system's directory for temporary files
    /// and belongs to the account that initdb will run under, who may have no access to ours.
    pub fn create(preferred: Utf8PathBuf, conf: &PostgresConfig) -> Result<Self, InitdbError> {
        if !Uid::effective().is_root() {
            remove_if_present(&preferred)?;
            std::fs::create_dir_all(&preferred).map_err(io_error("create", &preferred))?;
            return Ok(ClusterDirectory { path: preferred, _scratch: None, account: None });
        }
        let account = User::from_name(&conf.os_user).ok().flatten();
        let account = account.ok_or_else(|| InitdbError::NoAccount(conf.os_user.clone()))?;
        let base = Utf8PathBuf::from_path_buf(std::env::temp_dir())
            .unwrap_or_else(|_| Utf8PathBuf::from("/tmp"));
        let scratch = tempfile::Builder::new()
            .prefix("initdb-")
            .tempdir_in(&base)
            .map_err(io_error("create a directory in", &base))?;
        let path = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).unwrap_or(base);
        chown(path.as_std_path(), Some(account.uid), Some(account.gid))
            .map_err(|errno| io_error("change the owner of", &path)(errno.into()))?;
        Ok(ClusterDirectory { path, _scratch: Some(scratch), account: Some(account) })
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Fills it with a fresh cluster.
    pub async fn run_initdb(
        &self,
        conf: &PostgresConfig,
        major: PgMajor,
        cancel: &CancellationToken,
    ) -> Result<(), InitdbError> {
        let installation = conf.installation(major)?;
        let program = installation.join("bin/initdb");
        tracing::info!("running {program} in {}", self.path);
        let mut command = Command::new(&program);
        command
            .args(["-D", self.path.as_str(), "-U", &conf.superuser, "-E", "utf8"])
            .args(["--no-instructions", "--no-sync"])
            .args(version_arguments(major))
            .env_clear()
            .env("LD_LIBRARY_PATH", installation.join("lib"))
            .env("PATH", search_path(&installation))
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(account) = &self.account {
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        let child = command.spawn().map_err(io_error("run", &program))?;
        // Dropping the child on cancellation kills it.
        let output = tokio::select! {
            output = child.wait_with_output() => output.map_err(io_error("run", &program))?,
            () = cancel.cancelled() => return Err(InitdbError::Cancelled),
        };
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(InitdbError::Failed { status: output.status, stderr })
    }
}

impl Drop for ClusterDirectory {
    fn drop(&mut self) {
        if self._scratch.is_none()
            && let Err(error) = remove_if_present(&self.path)
        {
            tracing::warn!("{error}");
        }
    }
}

/// Version 18 turns data checksums on by itself. Timelines made here go without, in every version:
/// the storage checks pages itself.
fn version_arguments(major: PgMajor) -> &'static [&'static str] {
    match major {
        PgMajor::V15 | PgMajor::V16 | PgMajor::V17 => &[],
        PgMajor::V18 => &["--no-data-checksums"],
    }
}

/// initdb runs `postgres` from its own directory, and `sh` to do so.
fn search_path(installation: &Utf8Path) -> OsString {
    format!("{installation}/bin:/usr/local/bin:/usr/bin:/bin").into()
}

fn remove_if_present(path: &Utf8Path) -> Result<(), InitdbError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn io_error<'a>(
    action: &'static str,
    path: &'a Utf8Path,
) -> impl FnOnce(std::io::Error) -> InitdbError + 'a {
    move |source| InitdbError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
