//! The program as an operator meets it: options, files it leaves, how it ends.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_safekeeper");

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("-D").arg(dir).args(arguments).output().unwrap()
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running daemon; killed if the test fails.
struct Daemon {
    child: Child,
    http_port: u16,
}

impl Daemon {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let http_port = free_port();
        let child = Command::new(PROGRAM)
            .args(["--id=5", "--listen-pg=127.0.0.1:0", "--broker-endpoint=http://127.0.0.1:1"])
            .arg(format!("--listen-http=127.0.0.1:{http_port}"))
            .arg("-D")
            .arg(dir)
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { child, http_port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !daemon.get("/v1/status").contains("{\"id\":5}") {
            assert!(Instant::now() < deadline, "the daemon does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// The raw response; empty while nobody listens.
    fn get(&self, path: &str) -> String {
        let Ok(mut socket) = std::net::TcpStream::connect(("127.0.0.1", self.http_port)) else {
            return String::new();
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut response = String::new();
        if std::io::Write::write_all(&mut socket, request.as_bytes()).is_ok() {
            let _ = socket.read_to_string(&mut response);
        }
        response
    }

    fn signal_and_wait(mut self, signal: &str) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.child.wait().unwrap().code().expect("it ends by itself")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_version_names_revision_and_features() {
    for option in ["-V", "--version"] {
        let output = Command::new(PROGRAM).arg(option).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("Neon safekeeper git"), "{text}");
        let (failpoints, features) = match cfg!(feature = "testing") {
            true => ("failpoints: true", "features: [\"testing\"]"),
            false => ("failpoints: false", "features: []"),
        };
        assert!(text.contains(failpoints) && text.trim_end().ends_with(features), "{text}");
    }
}

#[test]
fn init_only_stores_the_id() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &["--id", "7", "--init"]).status.success());
    assert_eq!(std::fs::read(dir.path().join("safekeeper.id")).unwrap(), b"7");
    let error = error_of(&run(dir.path(), &["--id", "8", "--init"]));
    assert!(error.contains("belongs to safekeeper 7"), "{error}");
}

#[test]
fn a_missing_data_directory_is_named() {
    let error = error_of(&run(Path::new("/no/such/directory"), &["--id=1"]));
    assert!(error.contains("/no/such/directory"), "{error}");
}

#[test]
fn an_unknown_option_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = error_of(&run(dir.path(), &["--id=1", "--backup-threads=3"]));
    assert!(error.contains("--backup-threads"), "{error}");
}

#[test]
fn a_missing_key_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = error_of(&run(dir.path(), &["--id=1", "--http-auth-public-key-path=/no/key.pem"]));
    assert!(error.contains("/no/key.pem"), "{error}");
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let pid = std::fs::read_to_string(dir.path().join("safekeeper.pid")).unwrap();
    assert_eq!(pid.trim().parse::<u32>().unwrap(), daemon.child.id());
    let error = error_of(&run(dir.path(), &["--id=5", "--listen-pg=127.0.0.1:0"]));
    assert!(error.contains("locked"), "{error}");
}

#[test]
fn every_shutdown_signal_ends_it_at_once() {
    for signal in ["-QUIT", "-TERM", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Daemon::start(dir.path(), &[]).signal_and_wait(signal), 0, "{signal}");
    }
}

#[test]
fn one_thread_is_enough_to_serve() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &["--current-thread-runtime", "--no-sync"]);
    assert!(daemon.get("/metrics").contains("safekeeper_timelines 0"));
    assert!(daemon.get("/v1/tenant/x/timeline/y").contains("400 Bad Request"));
    assert_eq!(daemon.signal_and_wait("-TERM"), 0);
}

#[test]
fn readiness_is_notified() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["--id=5", "--listen-pg=127.0.0.1:0", "--listen-http=127.0.0.1:0", "-D"])
        .arg(dir.path())
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut message = [0; 64];
    let received = socket.recv(&mut message);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(&message[..received.unwrap()], b"READY=1");
}
