//! A throw-away PostgreSQL server on a Unix socket.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use postgres_ffi::PgMajor;
use tempfile::TempDir;

const SETTINGS: &str = "
listen_addresses = ''
wal_consistency_checking = 'all'
full_page_writes = on
fsync = off
autovacuum = off
max_prepared_transactions = 10
max_wal_size = 4GB
wal_keep_size = 8GB
";
const DEADLINE: Duration = Duration::from_secs(60);

/// A running server; dropping it kills it and removes its files.
pub struct Server {
    directory: TempDir,
    process: Option<Child>,
    tools: PathBuf,
}

/// Where a server of this version may be installed.
fn server_binaries(major: PgMajor) -> Option<PathBuf> {
    let mut candidates = vec![PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))];
    if let Ok(directory) = std::env::var("POSTGRES_DISTRIB_DIR") {
        candidates.insert(0, Path::new(&directory).join(format!("v{major}/bin")));
    }
    candidates.into_iter().find(|directory| directory.join("postgres").exists())
}

/// Where `psql` and `pgbench` of any version are.
fn client_binaries() -> Option<PathBuf> {
    PgMajor::ALL.into_iter().rev().find_map(|major| {
        let directory = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
        directory.join("pgbench").exists().then_some(directory)
    })
}

/// A command that does not run as root, which PostgreSQL refuses.
fn unprivileged(program: PathBuf) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir("/");
    if nix::unistd::Uid::effective().is_root() {
        let user = User::from_name("postgres")?.context("there is no user postgres")?;
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    Ok(command)
}

fn expect_success(what: &str, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "{what} failed: {status}");
    Ok(())
}

impl Server {
    /// Starts a server, unless this version or the client tools are not installed.
    pub fn start(major: PgMajor) -> Result<Option<Server>> {
        let (Some(binaries), Some(tools)) = (server_binaries(major), client_binaries()) else {
            return Ok(None);
        };
        let directory = tempfile::tempdir()?;
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700))?;
        if let Some(user) = User::from_name("postgres")?
            && nix::unistd::Uid::effective().is_root()
        {
            chown(directory.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        let data = directory.path().join("data");
        let mut initdb = unprivileged(binaries.join("initdb"))?;
        initdb.args(["-A", "trust", "-U", "postgres", "--no-sync", "-D"]).arg(&data);
        if major >= PgMajor::V18 {
            initdb.arg("--no-data-checksums");
        }
        expect_success("initdb", initdb.stdout(Stdio::null()).status()?)?;
        let configuration = data.join("postgresql.conf");
        let mut text = std::fs::read_to_string(&configuration)?;
        text.push_str(SETTINGS);
        text += &format!("unix_socket_directories = '{}'\n", directory.path().display());
        std::fs::write(&configuration, text)?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        let mut postgres = unprivileged(binaries.join("postgres"))?;
        postgres.arg("-D").arg(&data).stderr(log).stdout(Stdio::null());
        let server = Server { process: Some(postgres.spawn()?), directory, tools };
        server.wait_until_ready()?;
        Ok(Some(server))
    }

    fn client(&self, tool: &str) -> Result<Command> {
        let mut command = Command::new(self.tools.join(tool));
        command.arg("-h").arg(self.directory.path()).args(["-U", "postgres"]);
        Ok(command)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while !self.client("pg_isready")?.stdout(Stdio::null()).status()?.success() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.directory.path().join("log"))?;
                bail!("the server did not start:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Runs an SQL script.
    pub fn run_script(&self, script: &Path) -> Result<()> {
        let mut psql = self.client("psql")?;
        psql.args(["-q", "-d", "postgres", "-f"]).arg(script).stdout(Stdio::null());
        expect_success("psql", psql.status()?)
    }

    /// Lets several sessions update the same few rows.
    pub fn run_concurrent_updates(&self, scripts: &Path) -> Result<()> {
        let mut init = self.client("pgbench")?;
        init.args(["-q", "-i", "-s", "2", "--foreign-keys", "postgres"]).stderr(Stdio::null());
        expect_success("pgbench -i", init.stdout(Stdio::null()).status()?)?;
        let mut run = self.client("pgbench")?;
        run.args(["-c", "8", "-j", "2", "-t", "150", "postgres"]).stderr(Stdio::null());
        expect_success("pgbench", run.stdout(Stdio::null()).status()?)?;
        let mut locks = self.client("pgbench")?;
        locks.args(["-n", "-c", "8", "-j", "2", "-t", "60", "--max-tries=50"]);
        locks.arg("-f").arg(scripts.join("lock.sql")).arg("-f").arg(scripts.join("update.sql"));
        locks.arg("postgres").stderr(Stdio::null()).stdout(Stdio::null());
        expect_success("pgbench -f", locks.status()?)
    }

    /// Shuts the server down and returns its directory.
    pub fn stop(mut self) -> Result<TempDir> {
        if let Some(mut process) = self.process.take() {
            kill(Pid::from_raw(process.id() as i32), Signal::SIGINT)?;
            expect_success("postgres", process.wait()?)?;
        }
        let empty = tempfile::tempdir()?;
        Ok(std::mem::replace(&mut self.directory, empty))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // A test failed: the directory goes, so the server need not shut down cleanly.
            let _ = kill(Pid::from_raw(process.id() as i32), Signal::SIGQUIT);
            let _ = process.wait();
        }
    }
}
