//! The client against a shell: what a process answers is under the test's control.

use std::sync::Arc;

use super::*;
use crate::protocol::encode_ping;

fn shell(script: &str, timeout: Duration) -> RedoProcess {
    let options = LaunchOptions {
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".into(), script.into()],
        library_directory: None,
        timeout,
    };
    RedoProcess::launch(&options).unwrap().process
}

/// Echoes the bodies of pings.
const ECHO: &str = "while [ \"$(head -c 1)\" = H ]; do head -c 4 > /dev/null; head -c 8192; done";

const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn replies_go_to_those_who_asked() {
    let process = Arc::new(shell(ECHO, PATIENT));
    let tasks: Vec<_> = (0..20u8)
        .map(|number| {
            let process = Arc::clone(&process);
            tokio::spawn(async move { process.request(&encode_ping(&[number; BLCKSZ])).await })
        })
        .collect();
    for (number, task) in (0..20u8).zip(tasks) {
        assert_eq!(task.await.unwrap().unwrap(), vec![number; BLCKSZ]);
    }
    process.kill().await.unwrap();
}

#[tokio::test]
async fn a_process_that_ends_is_reported() {
    let process = shell("exit 3", PATIENT);
    let error = process.request(&encode_ping(&[1; BLCKSZ])).await.unwrap_err();
    assert!(matches!(error, RedoProcessError::Closed), "{error}");
    assert_eq!(process.kill().await.unwrap().code(), Some(3));
}

#[tokio::test]
async fn a_process_that_never_answers_times_out_and_is_not_used_again() {
    let process = shell("cat > /dev/null", Duration::from_millis(100));
    let error = process.request(&encode_ping(&[1; BLCKSZ])).await.unwrap_err();
    assert!(matches!(error, RedoProcessError::Timeout(_)), "{error}");
    let error = process.request(&encode_ping(&[1; BLCKSZ])).await.unwrap_err();
    assert!(matches!(error, RedoProcessError::Poisoned), "{error}");
    process.kill().await.unwrap();
}

#[tokio::test]
async fn a_reply_that_is_cut_short_is_an_error() {
    let process = shell("head -c 100 /dev/zero", PATIENT);
    let error = process.request(&encode_ping(&[1; BLCKSZ])).await.unwrap_err();
    assert!(matches!(error, RedoProcessError::Closed), "{error}");
    process.kill().await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_shift_the_replies() {
    let process = shell(&format!("sleep 0.3; {ECHO}"), PATIENT);
    let gone = encode_ping(&[1; BLCKSZ]);
    let request = process.request(&gone);
    assert!(tokio::time::timeout(Duration::from_millis(50), request).await.is_err());
    assert_eq!(process.request(&encode_ping(&[2; BLCKSZ])).await.unwrap(), vec![2; BLCKSZ]);
    assert_eq!(process.output.lock().await.received(), 2);
    assert!(process.abandoned().is_empty());
    process.kill().await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_in_the_middle_of_sending_ruins_the_process() {
    let process = shell("sleep 60", PATIENT);
    let long = vec![b'H'; 1 << 20];
    let request = process.request(&long);
    assert!(tokio::time::timeout(Duration::from_millis(50), request).await.is_err());
    let error = process.request(&encode_ping(&[2; BLCKSZ])).await.unwrap_err();
    assert!(matches!(error, RedoProcessError::Poisoned), "{error}");
    process.kill().await.unwrap();
}

#[tokio::test]
async fn replies_are_taken_in_while_a_request_waits_for_room() {
    // Whoever asked first is gone; the process can only go on reading when its pages are read.
    let process = shell(ECHO, PATIENT);
    for number in 0..40u8 {
        let request = encode_ping(&[number; BLCKSZ]);
        process.send(&request).await.unwrap();
        process.abandoned().insert(u64::from(number));
    }
    assert_eq!(process.request(&encode_ping(&[99; BLCKSZ])).await.unwrap(), vec![99; BLCKSZ]);
    process.kill().await.unwrap();
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let options = LaunchOptions {
        program: PathBuf::from("/nonexistent/wal_redo"),
        arguments: Vec::new(),
        library_directory: None,
        timeout: PATIENT,
    };
    let error = RedoProcess::launch(&options).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/wal_redo"), "{error}");
}
