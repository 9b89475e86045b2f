//! Throw-away clusters of stock PostgreSQL, for tests only.
//!
//! A cluster lives in its own temporary directory and listens on a Unix socket in it, so that
//! any number can run side by side. PostgreSQL refuses to run as root: then everything is
//! started as the account `postgres`. Failures panic, as is right in tests.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::unistd::{Uid, User, chown};
use tempfile::TempDir;

/// Where PostgreSQL 15 is looked for unless `PG_TEST_BIN_DIR` names another directory.
const DEFAULT_BIN_DIR: &str = "/usr/lib/postgresql/15/bin";
/// Where client programs are found when the server's directory has none.
const CLIENT_BIN_DIR: &str = DEFAULT_BIN_DIR;

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
        let own = self.bin_dir.join(program);
        let path = if own.exists() { own } else { Path::new(CLIENT_BIN_DIR).join(program) };
        let mut command = Command::new(&path);
        command.args(args).current_dir(self.directory.path()).env("LC_ALL", "C").env("TZ", "UTC");
        if let Some(user) = server_account() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command.output().unwrap_or_else(|e| panic!("running {}: {e}", path.display()))
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
