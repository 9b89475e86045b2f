//! Daemons as background processes: started with a clean environment and a log file, known
//! by their pid files, and stopped by signal. They outlive this tool.

mod liveness;
mod stop;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use utils::pid_file::{self, PidFileError, PidFileState};

pub use self::liveness::{is_alive, runs_program};
pub use self::stop::{StopMode, stop, wait_until_gone};

/// How often a daemon's state is looked at.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// A dot is printed after this many looks.
const POLLS_PER_DOT: u32 = 10;
/// When to say that it takes long.
const POLLS_UNTIL_NOTICE: u32 = 50;
/// How much of the log a failure shows.
const SHOWN_LOG_LINES: usize = 5;

/// Variables that daemons get from our environment.
const PASSED_THROUGH: [&str; 7] = [
    "LLVM_PROFILE_FILE",
    "FAILPOINTS",
    "RUST_LOG",
    "HOME",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_ACCESS_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
];
/// And those that begin so: whatever a store's credentials need comes from `AWS_*`.
const PASSED_THROUGH_PREFIXES: [&str; 2] = ["NEON_PAGESERVER_", "AWS_"];

/// A daemon could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not what it should be, or the system refuses.
    #[error("could not {operation} for process \"{name}\": {source}")]
    Io {
        /// What was attempted.
        operation: String,
        /// For whom.
        name: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The pid file cannot be used.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// It ended by itself.
    #[error("process \"{name}\" ended during its start with {status}; see {log}{tail}")]
    Exited {
        /// Who.
        name: String,
        /// How.
        status: ExitStatus,
        /// Its log file.
        log: Utf8PathBuf,
        /// The end of what it has logged.
        tail: String,
    },
    /// It runs but reports an error.
    #[error("error starting process \"{name}\": {reason}; see {log}")]
    StatusCheck {
        /// Who.
        name: String,
        /// What it answered.
        reason: String,
        /// Its log file.
        log: Utf8PathBuf,
    },
    /// It took too long.
    #[error("{name} did not start+pass status checks within {timeout:?} seconds; see {log}{tail}")]
    StartTimeout {
        /// Who.
        name: String,
        /// How long it was given.
        timeout: Duration,
        /// Its log file.
        log: Utf8PathBuf,
        /// The end of what it has logged.
        tail: String,
    },
    /// It does not go away.
    #[error("{name} with pid {pid} did not stop in {timeout_seconds}s seconds")]
    StopTimeout {
        /// Who.
        name: String,
        /// Its process id.
        pid: i32,
        /// How long it was given.
        timeout_seconds: u64,
    },
}

impl ProcessError {
    fn io<'a>(
        name: &'a str,
        operation: impl Into<String> + 'a,
    ) -> impl FnOnce(io::Error) -> ProcessError + 'a {
        move |source| ProcessError::Io {
            operation: operation.into(),
            name: name.to_owned(),
            source,
        }
    }
}

/// Who writes the pid file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitialPidFile {
    /// We do, for a daemon that has none of its own.
    Create(Utf8PathBuf),
    /// The daemon does.
    Expect(Utf8PathBuf),
}

impl InitialPidFile {
    fn path(&self) -> &Utf8Path {
        match self {
            InitialPidFile::Create(path) | InitialPidFile::Expect(path) => path,
        }
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub struct BackgroundProcess {
    /// Names the process and its log file.
    pub name: String,
    /// Where it works and logs.
    pub datadir: Utf8PathBuf,
    /// The binary.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables besides those that every daemon gets.
    pub env: Vec<(String, String)>,
    /// Its pid file.
    pub pid_file: InitialPidFile,
}

/// What a status check found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It serves.
    Ready,
    /// It cannot be reached yet.
    NotYet,
    /// It answers with an error.
    Failed(String),
}

/// How a start ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// With a new process.
    New,
    /// There was one already.
    AlreadyRunning,
}

impl BackgroundProcess {
    /// Its log file.
    pub fn log_path(&self) -> Utf8PathBuf {
        self.datadir.join(format!("{}.log", self.name))
    }

    /// Whether it runs already.
    pub fn is_running(&self) -> Result<bool, ProcessError> {
        let state = pid_file::read(self.pid_file.path().as_std_path())?;
        Ok(matches!(state, PidFileState::Locked(_)))
    }

    /// Starts the process and waits until `status_check` succeeds, or kills it when it does
    /// not within `timeout`.
    pub async fn start(
        &self,
        timeout: Duration,
        status_check: impl AsyncFn() -> Readiness,
    ) -> Result<Started, ProcessError> {
        if let PidFileState::Locked(pid) = pid_file::read(self.pid_file.path().as_std_path())? {
            println!("{} is already running, pid: {pid}", self.name);
            return Ok(Started::AlreadyRunning);
        }
        let log_start = std::fs::metadata(self.log_path()).map_or(0, |metadata| metadata.len());
        let mut child = self.spawn()?;
        match self.wait_until_ready(&mut child, timeout, status_check, log_start).await {
            Ok(()) => {
                println!("\n{} started and passed status check, pid: {}", self.name, child.id());
                Ok(Started::New)
            }
            Err(error) => {
                println!("SIGKILL & wait the started process");
                // Fails only if it has ended by itself, which is as good.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    async fn wait_until_ready(
        &self,
        child: &mut Child,
        timeout: Duration,
        status_check: impl AsyncFn() -> Readiness,
        log_start: u64,
    ) -> Result<(), ProcessError> {
        let (name, log) = (self.name.clone(), self.log_path());
        let started = Instant::now();
        for poll in 1.. {
            let exited = child.try_wait().map_err(ProcessError::io(&name, "wait"))?;
            if let Some(status) = exited {
                let tail = log_tail(&log, log_start);
                return Err(ProcessError::Exited { name, status, log, tail });
            }
            if self.owns_pid_file(child)? {
                match status_check().await {
                    Readiness::Ready => return Ok(()),
                    Readiness::NotYet => {}
                    Readiness::Failed(reason) => {
                        return Err(ProcessError::StatusCheck { name, reason, log });
                    }
                }
            }
            if started.elapsed() >= timeout {
                break;
            }
            print_progress(&name, "started", poll);
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let tail = log_tail(&log, log_start);
        Err(ProcessError::StartTimeout { name, timeout, log, tail })
    }

    fn owns_pid_file(&self, child: &Child) -> Result<bool, ProcessError> {
        let state = pid_file::read(self.pid_file.path().as_std_path())?;
        Ok(matches!(state, PidFileState::Locked(pid) if u32::try_from(pid) == Ok(child.id())))
    }

    fn spawn(&self) -> Result<Child, ProcessError> {
        let log_path = self.log_path();
        let open_log = || OpenOptions::new().create(true).append(true).open(&log_path);
        let io_error = |operation: String| ProcessError::io(&self.name, operation);
        let stdout = open_log().map_err(io_error(format!("open log file {log_path}")))?;
        let stderr = stdout.try_clone().map_err(io_error(format!("open log file {log_path}")))?;

        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .current_dir(&self.datadir)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .env_clear()
            .envs(inherited_environment())
            .envs(self.env.iter().cloned())
            // An interrupt from the terminal is for this tool, not for the daemons.
            .process_group(0);
        if let InitialPidFile::Create(path) = &self.pid_file {
            let claimed = pid_file::lock(path.as_std_path())?;
            let inherited =
                claimed.hand_over().map_err(io_error(format!("share pid file {path}")))?;
            hand_pid_file_to_child(&mut command, inherited);
        }
        command.spawn().map_err(io_error(format!("run {}", self.program)))
    }
}

/// Makes the child keep a locked pid file over exec and write its pid there.
fn hand_pid_file_to_child(command: &mut Command, file: OwnedFd) {
    let in_child = move || {
        fcntl(file.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        let mut buffer = [0; 20];
        let digits = decimal_digits(std::process::id(), &mut buffer);
        nix::unistd::write(file.as_fd(), digits)?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure calls only fcntl, getpid and write, which
    // are async-signal-safe, and it neither allocates nor takes locks.
    unsafe {
        command.pre_exec(in_child);
    }
}

/// The number in decimal, without allocating.
fn decimal_digits(mut number: u32, buffer: &mut [u8; 20]) -> &[u8] {
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[start..];
        }
    }
}

fn inherited_environment() -> Vec<(String, String)> {
    let backtrace = std::env::var("RUST_BACKTRACE").unwrap_or_else(|_| "1".to_owned());
    let passed = std::env::vars().filter(|(name, _)| {
        PASSED_THROUGH.contains(&name.as_str())
            || PASSED_THROUGH_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    });
    passed.chain([("RUST_BACKTRACE".to_owned(), backtrace)]).collect()
}

/// A dot a second, and a word after five.
pub(crate) fn print_progress(name: &str, awaited: &str, poll: u32) {
    if poll == POLLS_UNTIL_NOTICE {
        println!("\n{name} has not {awaited} yet, continuing to wait");
    }
    if poll.is_multiple_of(POLLS_PER_DOT) {
        print!(".");
        // Nothing depends on the dot being seen.
        let _ = io::stdout().flush();
    }
}

/// The last lines that were logged after `start`, indented, each on a line of its own.
pub(crate) fn log_tail(path: &Utf8Path, start: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut bytes)
    });
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.len().saturating_sub(SHOWN_LOG_LINES);
    lines.iter().skip(shown).map(|line| format!("\n    {line}")).collect()
}

#[cfg(test)]
mod tests;
