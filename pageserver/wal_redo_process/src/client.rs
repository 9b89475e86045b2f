//! The side of the protocol that asks: one helper process and its pipelined requests.
//!
//! Requests of several callers are in the pipe at once; replies come in the order of requests.
//! A process that failed, timed out or was left in the middle of a request must be replaced: it
//! refuses every later request. Owns the process: dropping the last reference kills it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use postgres_ffi::BLCKSZ;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::Mutex;

mod pipes;

use pipes::{Input, Output};

/// How to start a helper process.
#[derive(Clone, Debug)]
pub struct LaunchOptions {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where its shared libraries are, if not in the system's directories. It gets no other
    /// environment.
    pub library_directory: Option<PathBuf>,
    /// How long a request may take.
    pub timeout: Duration,
}

/// A process that was just started.
#[derive(Debug)]
pub struct LaunchedProcess {
    /// Takes requests.
    pub process: RedoProcess,
    /// What the process says. Somebody must read it, or the process stops when the pipe is full.
    pub stderr: ChildStderr,
}

/// Why a helper process gave no page.
#[derive(Debug, thiserror::Error)]
pub enum RedoProcessError {
    /// It could not be started.
    #[error("cannot start the WAL redo process {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended, as it does when a record cannot be applied.
    #[error("the WAL redo process closed its pipe; its standard error says why")]
    Closed,
    /// A pipe failed.
    #[error("cannot {what} the WAL redo process: {source}")]
    Pipe {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It took too long.
    #[error("WAL redo timed out after {0:?}")]
    Timeout(Duration),
    /// An earlier request was abandoned while it was being sent.
    #[error("the WAL redo process was left in the middle of a request and is not used any more")]
    Poisoned,
}

/// A running helper process.
#[derive(Debug)]
pub struct RedoProcess {
    pid: u32,
    timeout: Duration,
    child: Mutex<Child>,
    input: Mutex<Input>,
    output: Mutex<Output>,
    /// Numbers of requests whose callers are gone. Their replies are thrown away.
    abandoned: std::sync::Mutex<BTreeSet<u64>>,
}

impl RedoProcess {
    /// Starts a process. Must be called on a runtime, which the pipes stay registered with.
    pub fn launch(options: &LaunchOptions) -> Result<LaunchedProcess, RedoProcessError> {
        let failed = |source| RedoProcessError::Start {
            program: options.program.display().to_string(),
            source,
        };
        let mut command = Command::new(&options.program);
        command.args(&options.arguments).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(directory) = &options.library_directory {
            command.env("LD_LIBRARY_PATH", directory).env("DYLD_LIBRARY_PATH", directory);
        }
        let mut child = command.spawn().map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take(), child.id());
        let (Some(stdin), Some(stdout), Some(stderr), Some(pid)) = pipes else {
            return Err(failed(io::Error::other("it has no pipes")));
        };
        let process = RedoProcess {
            pid,
            timeout: options.timeout,
            child: Mutex::new(child),
            input: Mutex::new(Input::new(stdin)),
            output: Mutex::new(Output::new(stdout)),
            abandoned: std::sync::Mutex::default(),
        };
        Ok(LaunchedProcess { process, stderr })
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a whole request, as [`crate::protocol`] encodes it, and waits for its page.
    ///
    /// After an error the process must be replaced. A caller may drop the future: while the
    /// request is being sent, that ruins the process; later it does not.
    pub async fn request(&self, request: &[u8]) -> Result<Bytes, RedoProcessError> {
        let work = async {
            let number = self.send(request).await?;
            self.receive(number).await
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(result) => result,
            Err(_) => {
                // The reply may still come, but who knows when.
                self.output.lock().await.close();
                Err(RedoProcessError::Timeout(self.timeout))
            }
        }
    }

    /// Writes a request and returns its number. While the pipe is full, takes in replies: a
    /// process that cannot get rid of its pages reads nothing.
    async fn send(&self, request: &[u8]) -> Result<u64, RedoProcessError> {
        let mut input = self.input.lock().await;
        let sent_before = input.sent();
        let write = input.send(request);
        tokio::pin!(write);
        loop {
            // Both branches are cancel-safe as they are used: the write is pinned and goes on,
            // and taking in replies keeps a partial one.
            tokio::select! {
                biased;
                number = &mut write => return number,
                result = self.take_in(sent_before) => result?,
            }
        }
    }

    /// Takes in one reply, or waits for ever if all of the first `sent` requests have theirs.
    async fn take_in(&self, sent: u64) -> Result<(), RedoProcessError> {
        let mut output = self.output.lock().await;
        if output.received() >= sent {
            drop(output);
            return std::future::pending().await;
        }
        output.read_reply(&mut |number| self.abandoned().remove(&number)).await
    }

    /// Waits for the reply of a request, taking in those of others on the way.
    async fn receive(&self, number: u64) -> Result<Bytes, RedoProcessError> {
        let mut ticket = Ticket { process: self, number, redeemed: false };
        let mut output = self.output.lock().await;
        while output.received() <= number {
            output.read_reply(&mut |number| self.abandoned().remove(&number)).await?;
        }
        ticket.redeemed = true;
        output.take(number, &mut |number| self.abandoned().remove(&number))
    }

    fn abandoned(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        // A set of numbers is whole after every step.
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the process and waits for its end. Says how it ended, which for one that failed
    /// before is its own doing.
    pub async fn kill(&self) -> io::Result<ExitStatus> {
        let mut child = self.child.lock().await;
        // An error means that it has ended; waiting tells.
        let _ = child.start_kill();
        child.wait().await
    }
}

/// A reply that somebody waits for.
struct Ticket<'a> {
    process: &'a RedoProcess,
    number: u64,
    redeemed: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.redeemed {
            self.process.abandoned().insert(self.number);
        }
    }
}

/// Length of every reply.
const REPLY_BYTES: usize = BLCKSZ;

#[cfg(test)]
mod tests;
