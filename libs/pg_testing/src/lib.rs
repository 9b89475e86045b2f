//! Throw-away clusters of stock PostgreSQL, for tests only.
//!
//! A cluster lives in its own temporary directory and listens on a Unix socket in it, so that
//! any number can run side by side. PostgreSQL refuses to run as root: then everything is
//! started as the account `postgres`. Failures panic, as is right in tests.

mod distribution;
pub mod workload;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown};
use tempfile::TempDir;

pub use distribution::bin_dir;

/// Where PostgreSQL 15 is looked for unless `PG_TEST_BIN_DIR` names another directory.
const DEFAULT_BIN_DIR: &str = "/usr/lib/postgresql/15/bin";
/// Where client programs are found when the server's directory has none.
const CLIENT_BIN_DIR: &str = DEFAULT_BIN_DIR;

/// What keeps two servers from using one socket.
const SOCKET_LOCK: &str = ".s.PGSQL.5432.lock";
/// How long a killed server may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(30);

/// One cluster; stopped and removed when dropped.
#[derive(Debug)]
pub struct TestCluster {
    directory: TempDir,
    bin_dir: PathBuf,
    running: bool,
}

impl TestCluster {
    /// Runs initdb without data checksums, with the binaries that the environment selects.
    pub fn init() -> TestCluster {
        let bin_dir = std::env::var_os("PG_TEST_BIN_DIR");
        Self::init_with(bin_dir.map_or_else(|| PathBuf::from(DEFAULT_BIN_DIR), PathBuf::from))
    }

    /// Runs initdb with the binaries of `bin_dir`.
    pub fn init_with(bin_dir: PathBuf) -> TestCluster {
        let cluster = Self::empty(bin_dir);
        let pgdata = cluster.pgdata();
        let mut args = vec!["-D", path_text(&pgdata), "-U", "postgres", "-A", "trust", "-N"];
        if cluster.major() >= 18 {
            args.push("--no-data-checksums");
        }
        cluster.run_ok("initdb", &args);
        cluster
    }

    /// A directory for a cluster, without a data directory yet.
    pub fn empty(bin_dir: PathBuf) -> TestCluster {
        let directory = tempfile::tempdir().expect("creating a temporary directory");
        give_to_server_account(directory.path());
        TestCluster { directory, bin_dir, running: false }
    }

    /// The data directory.
    pub fn pgdata(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The directory of the server's programs.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The server's major version, as its own programs give it.
    pub fn major(&self) -> u32 {
        let output = self.run_ok("postgres", &["--version"]);
        let digits = output.split_whitespace().find_map(|word| {
            let number: String = word.chars().take_while(char::is_ascii_digit).collect();
            number.parse().ok()
        });
        digits.unwrap_or_else(|| panic!("no version number in {output:?}"))
    }

    /// Adds lines to the configuration.
    pub fn configure(&self, lines: &str) {
        let path = self.pgdata().join("postgresql.conf");
        let old = std::fs::read_to_string(&path).expect("reading postgresql.conf");
        std::fs::write(&path, old + lines).expect("writing postgresql.conf");
    }

    /// Starts the server and waits until it accepts connections.
    pub fn start(&mut self) {
        let log = self.directory.path().join("server.log");
        let options = format!("-c listen_addresses='' -k {} -F", path_text(self.directory.path()));
        let pgdata = self.pgdata();
        let args = ["-D", path_text(&pgdata), "-l", path_text(&log), "-w", "-o", &options, "start"];
        let output = self.run("pg_ctl", &args);
        if !output.status.success() {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("server did not start: {log}");
        }
        self.running = true;
    }

    /// Stops the server in the given mode: `fast` or `immediate`.
    pub fn stop(&mut self, mode: &str) {
        let pgdata = self.pgdata();
        self.run_ok("pg_ctl", &["-D", path_text(&pgdata), "-w", "-m", mode, "stop"]);
        self.running = false;
    }

    /// Kills every process of the server at once, as a failing machine does.
    pub fn kill(&mut self) {
        let pid_file = self.pgdata().join("postmaster.pid");
        let text = std::fs::read_to_string(&pid_file).expect("reading postmaster.pid");
        let postmaster = text.lines().next().and_then(|line| line.trim().parse().ok());
        let postmaster: i32 = postmaster.expect("postmaster.pid begins with a number");
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = std::fs::read_to_string(children).expect("listing the server's processes");
        let mut pids = vec![Pid::from_raw(postmaster)];
        pids.extend(children.split_whitespace().filter_map(|p| p.parse().ok()).map(Pid::from_raw));
        for pid in &pids {
            // One that has ended meanwhile is as good as killed.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        let deadline = Instant::now() + KILL_DEADLINE;
        while pids.iter().any(|pid| is_running(*pid)) {
            assert!(Instant::now() < deadline, "the server's processes {pids:?} do not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        // Whoever adopted the server may never ask for its end; a dead process still counts as one
        // for a server that finds its number.
        std::fs::remove_file(&pid_file).expect("removing postmaster.pid");
        let lock = self.directory.path().join(SOCKET_LOCK);
        std::fs::remove_file(lock).expect("removing the lock file of the socket");
        self.running = false;
    }

    /// Runs a file of SQL with `psql`. Errors of statements do not count.
    pub fn run_script(&self, database: &str, path: &Path, settings: &[(&str, &str)]) {
        let mut command = self.command("psql");
        command.envs(settings.iter().copied());
        command.args(["-X", "-q", "-h", path_text(self.directory.path()), "-U", "postgres"]);
        command.args(["-d", database, "-f", path_text(path)]);
        let output = command.output().expect("running psql");
        // 1 and 2 are a fatal error of psql and a lost connection; 3 needs ON_ERROR_STOP.
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} failed: {said}", path.display());
    }

    /// Runs SQL in database `postgres` and returns unaligned rows.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// Runs SQL in a database, each statement on its own, and returns unaligned rows.
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        let script = self.directory.path().join("script.sql");
        std::fs::write(&script, sql).expect("writing a script");
        let socket = self.directory.path();
        let args =
            ["-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", path_text(socket), "-U", "postgres"];
        let args = [&args[..], &["-d", database, "-f", path_text(&script)]].concat();
        self.run_ok("psql", &args).trim_end().to_owned()
    }

    /// Runs a client program with connection arguments for this cluster before `args`.
    pub fn client(&self, program: &str, args: &[&str]) -> String {
        let socket = self.directory.path();
        let connection = ["-h", path_text(socket), "-U", "postgres"];
        self.run_ok(program, &[&connection[..], args].concat())
    }

    /// Runs a program of the server and returns its output; panics if it fails.
    pub fn run_ok(&self, program: &str, args: &[&str]) -> String {
        let output = self.run(program, args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{program} {args:?} failed: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a program of the server.
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = self.command(program);
        command.args(args).output().unwrap_or_else(|e| panic!("running {program}: {e}"))
    }

    /// A command for a program of the server, under the server's account.
    pub fn command(&self, program: &str) -> Command {
        let own = self.bin_dir.join(program);
        let path = if own.exists() { own } else { Path::new(CLIENT_BIN_DIR).join(program) };
        let mut command = Command::new(&path);
        command.current_dir(self.directory.path()).env("LC_ALL", "C").env("TZ", "UTC");
        if let Some(user) = server_account() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Makes every file below the cluster's directory the server account's, after a test has
    /// written some itself.
    pub fn adopt_files(&self) {
        if server_account().is_none() {
            return;
        }
        let status = Command::new("chown")
            .args(["-R", "postgres:", path_text(self.directory.path())])
            .status()
            .expect("running chown");
        assert!(status.success(), "chown failed");
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if self.running {
            let pgdata = self.pgdata();
            let _ = self.run("pg_ctl", &["-D", path_text(&pgdata), "-m", "immediate", "stop"]);
        }
    }
}

/// Whether a process exists and has not ended. A dead one stays until its parent asks for it.
fn is_running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// The account that runs servers, if the current one may not.
fn server_account() -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    let user = User::from_name("postgres").expect("looking up the account postgres");
    Some(user.expect("running as root needs an account named postgres"))
}

fn give_to_server_account(path: &Path) {
    if let Some(user) = server_account() {
        chown(path, Some(user.uid), Some(user.gid)).expect("chown of the test directory");
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}
