//! The PostgreSQL process: starting it as the right account, stopping it in the right way.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres_client::{Client, ConnectOptions};
use postgres_ffi::PgMajor;
use tokio::process::{Child, Command};

use crate::pgdata::Pgdata;

/// First wait between two attempts to connect while the server starts; later ones are longer.
const FIRST_CONNECT_WAIT: Duration = Duration::from_millis(20);
/// Longest such wait.
const MAX_CONNECT_WAIT: Duration = Duration::from_millis(250);
/// How long a server may take to die after SIGQUIT before it gets SIGKILL.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The server cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The program does not run.
    #[error("cannot run {program}: {source}; --pgbin must name the postgres program")]
    Spawn {
        /// The program.
        program: Utf8PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The program says something unexpected about itself.
    #[error("{program} --version says {answer:?}: {reason}")]
    Version {
        /// The program.
        program: Utf8PathBuf,
        /// Its answer.
        answer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server refuses compute_ctl's own session.
    #[error("PostgreSQL refuses the administrator's session: {0}")]
    Session(postgres_client::Error),
    /// The operating system lost track of the process.
    #[error("cannot wait for PostgreSQL: {0}")]
    Wait(std::io::Error),
}

/// The `postgres` program of one installation.
#[derive(Clone, Debug)]
pub struct PostgresProgram {
    path: Utf8PathBuf,
    major: PgMajor,
    version_num: u32,
}

impl PostgresProgram {
    /// Finds the program: `path` is it, or its directory, or a name on PATH.
    pub async fn find(path: &Utf8Path) -> Result<Self, PostgresError> {
        let path = if path.is_dir() { path.join("postgres") } else { path.to_owned() };
        let output = Command::new(&path).arg("--version").output().await;
        let output =
            output.map_err(|source| PostgresError::Spawn { program: path.clone(), source })?;
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let wrong = |reason: String| PostgresError::Version {
            program: path.clone(),
            answer: answer.clone(),
            reason,
        };
        let version_num = parse_version_num(&answer).ok_or_else(|| wrong("no version".into()))?;
        let major = PgMajor::from_version_num(version_num);
        let major = major.map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path, major, version_num })
    }

    /// Its version as PostgreSQL counts it, such as 150018.
    pub fn version_num(&self) -> u32 {
        self.version_num
    }

    /// Its major version.
    pub fn major(&self) -> PgMajor {
        self.major
    }

    /// Starts the server on `pgdata`. Its output goes where compute_ctl's goes.
    pub fn start(
        &self,
        pgdata: &Pgdata,
        pinned: &[(&'static str, &'static str)],
    ) -> Result<PostgresProcess, PostgresError> {
        let mut command = Command::new(&self.path);
        command.arg("-D").arg(pgdata.path()).current_dir(pgdata.path()).stdin(Stdio::null());
        for (name, value) in pinned {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // The token is for the storage; sessions of users have no business with it.
        command.env_remove(crate::cli::TOKEN_VARIABLE).env_remove("PGDATA");
        if let Some(account) = pgdata.account() {
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
            // Our own is closed to it, and a WAL receiver that encrypts looks in there.
            command.env("HOME", &account.home);
        }
        // Signals of a terminal are for compute_ctl, which stops the server in order.
        command.process_group(0).kill_on_drop(true);
        end_with_parent(&mut command);
        let child = command
            .spawn()
            .map_err(|source| PostgresError::Spawn { program: self.path.clone(), source })?;
        Ok(PostgresProcess { child })
    }
}

/// Makes the server stop at once when compute_ctl dies, however it dies: nobody would acknowledge
/// its WAL any more, and the next start removes its data directory.
fn end_with_parent(command: &mut Command) {
    // Only the thread that starts the child counts as its parent. That is a thread of the
    // runtime, which lives as long as the process.
    //
    // SAFETY: between fork and exec only one system call is made, which allocates nothing and
    // takes no locks.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGQUIT)?));
    }
}

/// From "postgres (PostgreSQL) 15.18 (Debian ...)". Development versions have no minor number.
fn parse_version_num(answer: &str) -> Option<u32> {
    let version = answer.split_whitespace().nth(2)?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let major: u32 = numbers.next()?.parse().ok()?;
    let minor: u32 = numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0);
    major.checked_mul(10_000)?.checked_add(minor)
}

/// Connects as soon as the server accepts sessions. A server that dies meanwhile is noticed by
/// whoever waits for its process.
pub async fn connect_when_ready(options: &ConnectOptions) -> Result<Client, PostgresError> {
    let mut wait = FIRST_CONNECT_WAIT;
    loop {
        match options.connect().await {
            Ok(client) => return Ok(client),
            Err(error) if !error.is_transient() => return Err(PostgresError::Session(error)),
            Err(error) => tracing::debug!("PostgreSQL is not ready: {error}"),
        }
        tokio::time::sleep(wait).await;
        wait = wait.mul_f64(1.5).min(MAX_CONNECT_WAIT);
    }
}

/// A running server. Dropping it kills the postmaster.
#[derive(Debug)]
pub struct PostgresProcess {
    child: Child,
}

impl PostgresProcess {
    /// Waits for the end. Cancel safe.
    pub async fn wait(&mut self) -> Result<ExitStatus, PostgresError> {
        self.child.wait().await.map_err(PostgresError::Wait)
    }

    /// Asks for a fast shutdown: sessions end, a checkpoint is written and streamed.
    pub fn request_fast_shutdown(&self) {
        self.signal(Signal::SIGINT);
    }

    /// Ends the server at once, without a checkpoint.
    pub async fn quit(&mut self) {
        self.signal(Signal::SIGQUIT);
        let ended = tokio::time::timeout(QUIT_TIMEOUT, self.child.wait()).await;
        if ended.is_err() {
            tracing::warn!("PostgreSQL ignored SIGQUIT for {QUIT_TIMEOUT:?}, killing it");
            if let Err(error) = self.child.kill().await {
                tracing::error!("cannot kill PostgreSQL: {error}");
            }
        }
    }

    /// Re-reads the configuration.
    pub fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    fn signal(&self, signal: Signal) {
        // No id means that the process has been waited for already.
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return };
        if let Err(error) = kill(Pid::from_raw(id), signal) {
            tracing::warn!("cannot send {signal} to PostgreSQL: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_version_num;

    #[test]
    fn versions_are_read_from_the_programs_answer() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-1)";
        assert_eq!(parse_version_num(debian), Some(150_018));
        assert_eq!(parse_version_num("postgres (PostgreSQL) 18devel"), Some(180_000));
        assert_eq!(parse_version_num("something else"), None);
    }
}
