//! Stopping a daemon that is known by its pid file.

use std::io::{self, Write};
use std::str::FromStr;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use utils::pid_file::{self, PidFileState};

use super::{POLL_INTERVAL, ProcessError, is_alive, print_progress};

const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How a daemon is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopMode {
    /// In order (SIGTERM).
    #[default]
    Fast,
    /// At once, as in a crash (SIGQUIT).
    Immediate,
}

impl FromStr for StopMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fast" => Ok(StopMode::Fast),
            "immediate" => Ok(StopMode::Immediate),
            _ => Err("expected fast or immediate".to_owned()),
        }
    }
}

/// Stops the process that holds a pid file. A process that does not run is stopped already.
pub async fn stop(name: &str, pid_file: &Utf8Path, mode: StopMode) -> Result<(), ProcessError> {
    let pid = match pid_file::read(pid_file.as_std_path())? {
        PidFileState::Absent => {
            println!("{name} is already stopped: no pid file present at {pid_file}");
            return Ok(());
        }
        PidFileState::Stale => {
            println!("{name} is already stopped: nobody holds the pid file {pid_file}");
            return Ok(());
        }
        PidFileState::Locked(pid) => pid,
    };
    let (signal, manner) = match mode {
        StopMode::Fast => (Signal::SIGTERM, "gracefully"),
        StopMode::Immediate => (Signal::SIGQUIT, "immediately"),
    };
    print!("Stopping {name} with pid {pid} {manner}..");
    // Nothing depends on the text being seen.
    let _ = io::stdout().flush();
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => {
            println!();
            return Err(ProcessError::io(name, format!("send {signal} to {pid}"))(errno.into()));
        }
    }
    let gone = wait_until_gone(name, pid, STOP_TIMEOUT).await;
    println!();
    gone?;
    println!("{name} stopped");
    Ok(())
}

/// Waits until a process has ended.
pub async fn wait_until_gone(name: &str, pid: i32, timeout: Duration) -> Result<(), ProcessError> {
    let started = Instant::now();
    for poll in 1.. {
        if !is_alive(pid) {
            return Ok(());
        }
        if started.elapsed() >= timeout {
            break;
        }
        print_progress(name, "stopped", poll);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Err(ProcessError::StopTimeout {
        name: name.to_owned(),
        pid,
        timeout_seconds: timeout.as_secs(),
    })
}
