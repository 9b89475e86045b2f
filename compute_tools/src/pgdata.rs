//! The data directory on disk: making it, filling in configuration, handing it to the account
//! that runs PostgreSQL. It is disposable: nothing in it is worth an fsync.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;

use camino::{Utf8Path, Utf8PathBuf};
use nix::unistd::{Gid, Uid, User};

/// The directory, or the account for it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PgdataError {
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The account for PostgreSQL does not exist.
    #[error(
        "PostgreSQL refuses to run as root and there is no account {name:?} to run it as; \
         create it, name another with --postgres-user, or do not run compute_ctl as root"
    )]
    NoAccount {
        /// Its name.
        name: String,
    },
    /// A directory above keeps the account out.
    #[error(
        "PostgreSQL runs as uid {uid}, which may not enter {path}; \
         allow it (chmod o+x {path}) or put the data directory elsewhere"
    )]
    Unreachable {
        /// The directory.
        path: Utf8PathBuf,
        /// The account.
        uid: Uid,
    },
}

/// An account other than root that runs PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: Uid,
    /// Primary group id.
    pub gid: Gid,
    /// Home directory, where libpq looks for client certificates.
    pub home: PathBuf,
}

/// A data directory and who owns it.
#[derive(Clone, Debug)]
pub struct Pgdata {
    path: Utf8PathBuf,
    account: Option<Account>,
}

impl Pgdata {
    /// Removes what is at `path` and makes an empty directory of mode 0700.
    pub fn create(path: &Utf8Path, postgres_user: &str) -> Result<Self, PgdataError> {
        let account = account_for_postgres(postgres_user)?;
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove the old data directory", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        std::fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(path)
            .map_err(failed("create the data directory", path))?;
        // The process's umask may have taken bits away.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
            .map_err(failed("set the mode of", path))?;
        let pgdata = Self { path: path.to_owned(), account };
        pgdata.check_reachable()?;
        pgdata.hand_over(path)?;
        Ok(pgdata)
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Who must run PostgreSQL, if not the current user.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Writes one file, mode 0600.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), PgdataError> {
        let path = self.path.join(name);
        std::fs::write(&path, bytes).map_err(failed("write", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(failed("set the mode of", &path))?;
        self.hand_over(&path)
    }

    /// The text of a file, empty when it does not exist.
    pub fn read_text(&self, name: &str) -> Result<String, PgdataError> {
        let path = self.path.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Whether the server says that it is shutting down.
    pub fn server_is_stopping(&self) -> bool {
        /// The status is the eighth line of the file.
        const STATUS_LINE: usize = 7;
        let text = self.read_text("postmaster.pid").unwrap_or_default();
        text.lines().nth(STATUS_LINE).is_some_and(|status| status.trim() == "stopping")
    }

    /// Checks that the account that runs PostgreSQL can reach the directory at all.
    fn check_reachable(&self) -> Result<(), PgdataError> {
        use std::os::unix::fs::MetadataExt;
        let Some(Account { uid, gid, .. }) = &self.account else { return Ok(()) };
        let absolute = self.path.canonicalize_utf8().map_err(failed("resolve", &self.path))?;
        for ancestor in absolute.ancestors().skip(1) {
            let metadata = ancestor.metadata().map_err(failed("look at", ancestor))?;
            let execute_bit = if metadata.uid() == uid.as_raw() {
                0o100
            } else if metadata.gid() == gid.as_raw() {
                0o010
            } else {
                0o001
            };
            if metadata.mode() & execute_bit == 0 {
                return Err(PgdataError::Unreachable { path: ancestor.to_owned(), uid: *uid });
            }
        }
        Ok(())
    }

    /// Gives everything to the account that runs PostgreSQL.
    pub fn hand_over_all(&self) -> Result<(), PgdataError> {
        if self.account.is_none() {
            return Ok(());
        }
        let mut pending = vec![self.path.clone()];
        while let Some(path) = pending.pop() {
            self.hand_over(&path)?;
            let metadata = path.symlink_metadata().map_err(failed("look at", &path))?;
            if metadata.is_dir() {
                for entry in path.read_dir_utf8().map_err(failed("list", &path))? {
                    let entry = entry.map_err(failed("list", &path))?;
                    pending.push(entry.into_path());
                }
            }
        }
        Ok(())
    }

    fn hand_over(&self, path: &Utf8Path) -> Result<(), PgdataError> {
        let Some(Account { uid, gid, .. }) = &self.account else { return Ok(()) };
        std::os::unix::fs::lchown(path, Some(uid.as_raw()), Some(gid.as_raw()))
            .map_err(failed("change the owner of", path))
    }
}

fn failed<'a>(
    action: &'static str,
    path: &'a Utf8Path,
) -> impl FnOnce(io::Error) -> PgdataError + 'a {
    move |source| PgdataError::Io { action, path: path.to_owned(), source }
}

/// PostgreSQL refuses to run as root, so root needs another account for it.
fn account_for_postgres(name: &str) -> Result<Option<Account>, PgdataError> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = User::from_name(name).ok().flatten();
    let user = user.ok_or_else(|| PgdataError::NoAccount { name: name.to_owned() })?;
    Ok(Some(Account { uid: user.uid, gid: user.gid, home: user.dir }))
}

#[cfg(test)]
mod tests;
