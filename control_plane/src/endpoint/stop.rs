//! Stopping an endpoint.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::{Endpoint, EndpointError};
use crate::config::LocalEnv;
use crate::distrib::PostgresInstall;
use crate::process::{StopMode, wait_until_gone};

/// Longer than compute_ctl's own deadline for PostgreSQL, after which it ends it hard.
const PG_CTL_TIMEOUT_SECONDS: &str = "90";
const COMPUTE_CTL_TIMEOUT: Duration = Duration::from_secs(10);

/// How PostgreSQL is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PgStopMode {
    /// When the last client has gone.
    Smart,
    /// In order, without its clients.
    #[default]
    Fast,
    /// At once, as in a crash.
    Immediate,
}

impl PgStopMode {
    fn as_str(self) -> &'static str {
        match self {
            PgStopMode::Smart => "smart",
            PgStopMode::Fast => "fast",
            PgStopMode::Immediate => "immediate",
        }
    }
}

impl FromStr for PgStopMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [PgStopMode::Smart, PgStopMode::Fast, PgStopMode::Immediate]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| "expected smart, fast or immediate".to_owned())
    }
}

impl From<StopMode> for PgStopMode {
    fn from(mode: StopMode) -> Self {
        match mode {
            StopMode::Fast => PgStopMode::Fast,
            StopMode::Immediate => PgStopMode::Immediate,
        }
    }
}

impl Endpoint {
    /// Stops PostgreSQL and waits for compute_ctl to end; with `destroy` removes the
    /// endpoint's directory.
    pub async fn stop(
        &self,
        env: &LocalEnv,
        mode: PgStopMode,
        destroy: bool,
    ) -> Result<(), EndpointError> {
        let compute_ctl = self.compute_ctl_pid();
        let postgres_runs = self.postmaster_pid().is_some();
        if postgres_runs {
            self.pg_ctl_stop(env, mode)?;
        }
        if let Some(pid) = compute_ctl {
            // It ends by itself after PostgreSQL; without one it has to be told, and so it
            // is when nobody wants the last WAL, which could take a quorum to settle.
            if destroy || !postgres_runs {
                // It may just have ended.
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            wait_until_gone("compute_ctl", pid, COMPUTE_CTL_TIMEOUT).await?;
        }
        self.forget_crashed_postgres()?;
        if destroy {
            println!("Destroying postgres data directory '{}'", self.pgdata());
            fs::remove_dir_all(&self.dir).map_err(EndpointError::io("remove", &self.dir))?;
        }
        Ok(())
    }

    /// Removes the pid file of a PostgreSQL that died without doing so. Its data directory
    /// will never be used again.
    fn forget_crashed_postgres(&self) -> Result<(), EndpointError> {
        let path = self.pgdata().join("postmaster.pid");
        if path.exists() && self.postmaster_pid().is_none() {
            fs::remove_file(&path).map_err(EndpointError::io("remove", &path))?;
        }
        Ok(())
    }

    fn pg_ctl_stop(&self, env: &LocalEnv, mode: PgStopMode) -> Result<(), EndpointError> {
        let install = PostgresInstall::find(&env.config.pg_distrib_dir, self.conf.pg_version)?;
        let program = install.program("pg_ctl");
        let pgdata = self.pgdata();
        let mut command = Command::new(&program);
        command
            .args(["-D", pgdata.as_str(), "-w", "-t", PG_CTL_TIMEOUT_SECONDS])
            .args(["-m", mode.as_str(), "stop"])
            .env_clear()
            .env("LD_LIBRARY_PATH", install.lib_dir().as_str())
            .current_dir("/");
        // pg_ctl refuses to run as root: it runs as who owns the data directory, as
        // PostgreSQL does.
        if geteuid().is_root() {
            let owner = fs::metadata(&pgdata).map_err(EndpointError::io("look at", &pgdata))?;
            command.uid(owner.uid()).gid(owner.gid());
        }
        let output = command.output().map_err(EndpointError::io("run", &program))?;
        if output.status.success() {
            return Ok(());
        }
        Err(EndpointError::PgCtl {
            status: output.status.to_string(),
            stdout: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}
