//! A throw-away stock PostgreSQL server in a temporary directory.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use postgres_client::ConnectOptions;

pub struct TestServer {
    bin_dir: PathBuf,
    directory: tempfile::TempDir,
    port: u16,
    stopped: bool,
}

fn find_bin_dir() -> Option<PathBuf> {
    let named = std::env::var_os("PG_BINDIR").map(PathBuf::from);
    let packaged = (15..=18).map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin")));
    named.into_iter().chain(packaged).find(|dir| dir.join("initdb").exists())
}

/// PostgreSQL refuses to run as root; the packaged account is used then.
fn command(program: &Path) -> Command {
    let mut command;
    if nix::unistd::Uid::effective().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    } else {
        command = Command::new(program);
    }
    command.current_dir("/");
    command
}

fn succeed(output: Output, what: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {error}");
}

impl TestServer {
    /// `None` when no PostgreSQL is installed.
    pub fn start() -> Option<Self> {
        let Some(bin_dir) = find_bin_dir() else {
            eprintln!("skipped: no PostgreSQL found, set PG_BINDIR");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let data = directory.path().join("data");
        let mut initdb = command(&bin_dir.join("initdb"));
        initdb.args(["-U", "admin", "-A", "trust", "--no-sync", "-D"]).arg(&data);
        succeed(initdb.output().unwrap(), "initdb");

        let port = free_port();
        let hba = "local all,replication all trust\n\
                   host all locked 127.0.0.1/32 md5\n\
                   host all,replication all 127.0.0.1/32 trust\n";
        let socket_directory = directory.path().display();
        let conf = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nfsync = off\n\
             unix_socket_directories = '{socket_directory}'\n"
        );
        append(&data.join("postgresql.conf"), &conf);
        std::fs::write(data.join("pg_hba.conf"), hba).unwrap();

        let server = Self { bin_dir, directory, port, stopped: false };
        let log = server.directory.path().join("log");
        let mut start = server.pg_ctl();
        start.arg("-l").arg(&log).args(["-w", "start"]);
        // No pipes: the server would inherit them and hold them open.
        start.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let status = start.status().unwrap();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "pg_ctl start: {text}");
        Some(server)
    }

    /// A superuser over the Unix socket.
    pub fn trusted(&self) -> ConnectOptions {
        ConnectOptions {
            host: self.directory.path().display().to_string(),
            port: self.port,
            user: "admin".into(),
            dbname: "postgres".into(),
            ..Default::default()
        }
    }

    /// Over TCP, where role `locked` needs a password.
    pub fn password_only(&self) -> ConnectOptions {
        ConnectOptions { host: "127.0.0.1".into(), ..self.trusted() }
    }

    /// Asks for a fast shutdown, which waits for WAL receivers.
    pub fn begin_fast_shutdown(&mut self) -> std::thread::JoinHandle<()> {
        self.stopped = true;
        let mut stop = self.pg_ctl();
        stop.args(["-m", "fast", "-w", "stop"]);
        std::thread::spawn(move || succeed(stop.output().unwrap(), "pg_ctl stop"))
    }

    fn pg_ctl(&self) -> Command {
        let mut pg_ctl = command(&self.bin_dir.join("pg_ctl"));
        pg_ctl.arg("-D").arg(self.directory.path().join("data"));
        pg_ctl
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if !self.stopped {
            let _ = self.pg_ctl().args(["-m", "immediate", "stop"]).output();
        }
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn append(path: &Path, text: &str) {
    let old = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, old + text).unwrap();
}
