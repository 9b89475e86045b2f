//! Pid files: who runs in a directory.
//!
//! A pid file holds a decimal process id and stays locked (`flock`) for the life of that
//! process. It is never deleted: deleting would race with a starter that has already
//! locked the unlinked inode. Only a locked file's content means anything.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Readers take the lock for an instant; a claim that meets one tries again this often.
const CLAIM_ATTEMPTS: u32 = 10;
const CLAIM_RETRY_DELAY: Duration = Duration::from_millis(10);

/// A pid file could not be claimed or read.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another process holds the lock.
    #[error("pid file {path:?} is locked by another process (pid {pid}): stop it first", pid = .pid.map_or("unknown".to_owned(), |pid| pid.to_string()))]
    AlreadyLocked {
        /// The pid file.
        path: PathBuf,
        /// The pid in it, when it could be read.
        pid: Option<i32>,
    },
    /// The operating system refused.
    #[error("could not {operation} pid file {path:?}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The pid file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file is locked, yet it holds no process id.
    #[error("pid file {path:?} is locked but holds {content:?} instead of a process id")]
    Malformed {
        /// The pid file.
        path: PathBuf,
        /// What it holds.
        content: String,
    },
}

impl PidFileError {
    fn io<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> PidFileError + 'a {
        move |source| PidFileError::Io { operation, path: path.to_owned(), source }
    }
}

/// What a pid file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidFileState {
    /// There is no file.
    Absent,
    /// There is a file nobody holds; its content is of no value.
    Stale,
    /// The process with this id runs.
    Locked(i32),
}

/// Holds the lock; dropping it releases the claim (and leaves the file).
#[derive(Debug)]
pub struct PidFileGuard {
    file: Flock<File>,
}

impl PidFileGuard {
    /// Replaces the content with `pid`. For a starter that claims on behalf of a child
    /// which inherits the locked descriptor.
    pub fn write_pid(&mut self, pid: u32) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(pid.to_string().as_bytes())
    }

    /// Turns the claim into a descriptor for a child to inherit: the lock then lasts until
    /// both this process and the child have ended. This process keeps its share of the lock
    /// (one descriptor) for the rest of its life, because releasing it would release the
    /// child's as well.
    pub fn hand_over(self) -> io::Result<OwnedFd> {
        let shared = self.file.as_fd().try_clone_to_owned()?;
        std::mem::forget(self);
        Ok(shared)
    }
}

impl AsFd for PidFileGuard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Locks the pid file for this process and writes its pid. The guard must live as long as
/// the process.
pub fn claim(path: &Path) -> Result<PidFileGuard, PidFileError> {
    let mut guard = lock(path)?;
    guard.write_pid(std::process::id()).map_err(PidFileError::io("write", path))?;
    Ok(guard)
}

/// Locks the pid file and empties it, without writing a pid.
pub fn lock(path: &Path) -> Result<PidFileGuard, PidFileError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(PidFileError::io("open", path))?;
    for attempt in 1.. {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => {
                locked.set_len(0).map_err(PidFileError::io("truncate", path))?;
                return Ok(PidFileGuard { file: locked });
            }
            Err((unlocked, Errno::EWOULDBLOCK)) if attempt < CLAIM_ATTEMPTS => {
                file = unlocked;
                std::thread::sleep(CLAIM_RETRY_DELAY);
            }
            Err((mut unlocked, Errno::EWOULDBLOCK)) => {
                let pid = read_text(&mut unlocked).ok().and_then(|text| text.parse().ok());
                return Err(PidFileError::AlreadyLocked { path: path.to_owned(), pid });
            }
            Err((_, errno)) => return Err(PidFileError::io("lock", path)(errno.into())),
        }
    }
    unreachable!("the loop above ends by returning")
}

/// Looks at a pid file without changing it.
pub fn read(path: &Path) -> Result<PidFileState, PidFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PidFileState::Absent),
        Err(error) => return Err(PidFileError::io("open", path)(error)),
    };
    // A shared lock, so that readers do not disturb each other.
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_unlocked_on_drop) => Ok(PidFileState::Stale),
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let content = read_text(&mut file).map_err(PidFileError::io("read", path))?;
            match content.parse() {
                Ok(pid) => Ok(PidFileState::Locked(pid)),
                // The claimer is between taking the lock and writing its pid.
                Err(_) if content.is_empty() => Ok(PidFileState::Stale),
                Err(_) => Err(PidFileError::Malformed { path: path.to_owned(), content }),
            }
        }
        Err((_, errno)) => Err(PidFileError::io("lock", path)(errno.into())),
    }
}

fn read_text(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests;
