use super::*;

/// A shell stands in for a daemon.
fn daemon(dir: &Utf8Path, script: &str, pid_file: InitialPidFile) -> BackgroundProcess {
    BackgroundProcess {
        name: "helper".to_owned(),
        datadir: dir.to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: vec![("HELPER_VARIABLE".to_owned(), "given".to_owned())],
        pid_file,
    }
}

fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

fn create(dir: &Utf8Path) -> InitialPidFile {
    InitialPidFile::Create(dir.join("helper.pid"))
}

async fn ready() -> Readiness {
    Readiness::Ready
}

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_daemon_is_started_found_again_and_stopped() {
    let (_dir, path) = directory();
    let helper = BackgroundProcess {
        program: "/bin/sleep".into(),
        args: vec!["600".to_owned()],
        ..daemon(&path, "", create(&path))
    };
    assert_eq!(helper.start(TIMEOUT, ready).await.unwrap(), Started::New);
    let pid_file = path.join("helper.pid");
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert!(runs_program(pid, "sleep"));
    assert_eq!(helper.start(TIMEOUT, ready).await.unwrap(), Started::AlreadyRunning);

    stop("helper", &pid_file, StopMode::Immediate).await.unwrap();
    assert!(!is_alive(pid));
    assert!(pid_file.exists());
    stop("helper", &pid_file, StopMode::Fast).await.unwrap();
}

#[tokio::test]
async fn stopping_what_never_ran_is_a_success() {
    let (_dir, path) = directory();
    stop("helper", &path.join("helper.pid"), StopMode::Fast).await.unwrap();
    std::fs::write(path.join("helper.pid"), "1").unwrap();
    stop("helper", &path.join("helper.pid"), StopMode::Fast).await.unwrap();
}

#[tokio::test]
async fn a_daemon_gets_a_clean_environment_its_directory_and_a_log() {
    let (_dir, path) = directory();
    let helper = daemon(&path, "pwd; env; echo oops >&2; exec sleep 600", create(&path));
    let log = path.join("helper.log");
    std::fs::write(&log, "older line\n").unwrap();
    let has_logged = async || match std::fs::read_to_string(&log) {
        Ok(text) if text.contains("oops") => Readiness::Ready,
        _ => Readiness::NotYet,
    };
    helper.start(TIMEOUT, has_logged).await.unwrap();
    stop("helper", &path.join("helper.pid"), StopMode::Immediate).await.unwrap();

    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("older line\n"));
    assert!(text.contains(path.as_str()));
    assert!(text.contains("HELPER_VARIABLE=given"));
    assert!(text.contains("RUST_BACKTRACE="));
    // Cargo sets this for tests; a daemon must not see it.
    assert!(!text.contains("CARGO_MANIFEST_DIR"));
}

#[tokio::test]
async fn an_early_end_is_reported_with_the_log() {
    let (_dir, path) = directory();
    let helper = daemon(&path, "echo cannot work >&2; exit 3", create(&path));
    let error = helper.start(TIMEOUT, ready_never).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 3"), "{error}");
    assert!(error.contains("helper.log") && error.contains("cannot work"), "{error}");
}

async fn ready_never() -> Readiness {
    Readiness::NotYet
}

#[tokio::test]
async fn a_daemon_that_does_not_get_ready_is_killed() {
    let (_dir, path) = directory();
    let helper = daemon(&path, "exec sleep 600", create(&path));
    let error = helper.start(Duration::from_millis(300), ready_never).await.unwrap_err();
    assert!(matches!(error, ProcessError::StartTimeout { .. }), "{error}");
    assert!(error.to_string().contains("did not start+pass status checks within 300ms"));
    let pid: i32 = std::fs::read_to_string(path.join("helper.pid")).unwrap().parse().unwrap();
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_failing_status_check_ends_the_start_at_once() {
    let (_dir, path) = directory();
    let helper = daemon(&path, "exec sleep 600", create(&path));
    let failing = async || Readiness::Failed("500 broken".to_owned());
    let error = helper.start(TIMEOUT, failing).await.unwrap_err().to_string();
    assert!(error.starts_with("error starting process \"helper\": 500 broken"), "{error}");
}

#[tokio::test]
async fn a_daemon_with_its_own_pid_file_must_lock_it() {
    let (_dir, path) = directory();
    let expected = path.join("helper.pid");
    let pid_file = InitialPidFile::Expect(expected.clone());
    // Writes its pid, but holds no lock: somebody else's old file would look the same.
    let helper = daemon(&path, "echo $$ > helper.pid; exec sleep 600", pid_file);
    let error = helper.start(Duration::from_millis(300), ready).await.unwrap_err();
    assert!(matches!(error, ProcessError::StartTimeout { .. }), "{error}");
}

#[test]
fn digits_are_decimal() {
    let mut buffer = [0; 20];
    assert_eq!(decimal_digits(0, &mut buffer), b"0");
    assert_eq!(decimal_digits(40, &mut buffer), b"40");
    assert_eq!(decimal_digits(u32::MAX, &mut buffer), b"4294967295");
}

#[test]
fn only_the_end_of_the_new_log_is_shown() {
    let (_dir, path) = directory();
    let log = path.join("log");
    std::fs::write(&log, "old\n1\n2\n\n3\n4\n5\n6\n").unwrap();
    assert_eq!(log_tail(&log, 4), "\n    2\n    3\n    4\n    5\n    6");
    assert_eq!(log_tail(&path.join("missing"), 0), "");
}
