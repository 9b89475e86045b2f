//! The program itself, in its sandbox, through the client.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres_ffi::{BLCKSZ, PgMajor};
use tokio::io::AsyncReadExt;
use wal_redo_process::protocol::{encode_ping, encode_request};
use wal_redo_process::{LaunchOptions, RedoProcess, RedoProcessError};

mod chains;

use chains::Chain;

fn launch_with(arguments: &[&str]) -> wal_redo_process::LaunchedProcess {
    let fixed = ["--wal-redo", "--tenant-shard-id", "0123", "--pg-version", "15"];
    let options = LaunchOptions {
        program: PathBuf::from(env!("CARGO_BIN_EXE_wal_redo")),
        arguments: fixed.iter().chain(arguments).map(OsString::from).collect(),
        library_directory: None,
        timeout: Duration::from_secs(60),
    };
    RedoProcess::launch(&options).unwrap()
}

fn native(chain: &Chain) -> Vec<u8> {
    let mut page = [0; BLCKSZ];
    for (lsn, raw) in &chain.records {
        let record = wal_decoder::record::decode(raw, PgMajor::V15).unwrap();
        let (rel, block) = (chain.tag.rel, chain.tag.block);
        wal_redo::redo_record(&mut page, rel, block, &record, *lsn, PgMajor::V15).unwrap();
    }
    page.to_vec()
}

fn request(chain: &Chain) -> Vec<u8> {
    encode_request(chain.tag, None, &chain.records)
}

#[tokio::test]
async fn pages_equal_those_of_the_engine_in_this_process() {
    let launched = launch_with(&[]);
    for chain in [chains::short(), chains::medium(), chains::short()] {
        let page = launched.process.request(&request(&chain)).await.unwrap();
        let expected = native(&chain);
        assert!(expected.iter().any(|byte| *byte != 0));
        assert_eq!(page, expected);
    }
    launched.process.kill().await.unwrap();
}

#[tokio::test]
async fn records_go_on_from_a_page_that_is_pushed() {
    let launched = launch_with(&[]);
    let chain = chains::medium();
    let half = Chain { tag: chain.tag, records: chain.records[..100].to_vec() };
    let base = native(&half);
    let rest = encode_request(chain.tag, Some(&base), &chain.records[100..]);
    assert_eq!(launched.process.request(&rest).await.unwrap(), native(&chain));
    launched.process.kill().await.unwrap();
}

#[tokio::test]
async fn many_callers_share_one_process() {
    let launched = launch_with(&[]);
    let process = std::sync::Arc::new(launched.process);
    let tasks: Vec<_> = (0..128u32)
        .map(|number| {
            let process = std::sync::Arc::clone(&process);
            tokio::spawn(async move {
                let chain = if number % 2 == 0 { chains::short() } else { chains::medium() };
                for _ in 0..10 {
                    assert_eq!(process.request(&request(&chain)).await.unwrap(), native(&chain));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    process.kill().await.unwrap();
}

#[tokio::test]
async fn a_process_that_is_killed_fails_the_requests_in_it() {
    let launched = launch_with(&[]);
    let pid = Pid::from_raw(launched.process.pid() as i32);
    let chain = chains::medium();
    launched.process.request(&request(&chain)).await.unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    let error = launched.process.request(&request(&chain)).await.unwrap_err();
    assert!(matches!(error, RedoProcessError::Closed), "{error}");
    launched.process.kill().await.unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_applied_ends_the_process_with_a_reason() {
    let mut launched = launch_with(&[]);
    let mut chain = chains::medium();
    chain.records.remove(3);
    let error = launched.process.request(&request(&chain)).await.unwrap_err();
    assert!(matches!(error, RedoProcessError::Closed), "{error}");
    let mut said = String::new();
    launched.stderr.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("FATAL: cannot apply Heap record"), "{said}");
    assert_eq!(launched.process.kill().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn garbage_ends_the_process() {
    let mut launched = launch_with(&[]);
    let error = launched.process.request(b"this is no request").await.unwrap_err();
    assert!(matches!(error, RedoProcessError::Closed), "{error}");
    let mut said = String::new();
    launched.stderr.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("unknown message tag 0x74"), "{said}");
    launched.process.kill().await.unwrap();
}

#[tokio::test]
async fn a_ping_needs_no_sandbox() {
    let launched = launch_with(&["--disable-seccomp"]);
    let page = launched.process.request(&encode_ping(&[8; BLCKSZ])).await.unwrap();
    assert_eq!(page, Bytes::from(vec![8; BLCKSZ]));
    launched.process.kill().await.unwrap();
}

#[tokio::test]
async fn the_process_is_confined_by_a_filter() {
    let launched = launch_with(&[]);
    // The answer shows that the process is past its start.
    launched.process.request(&encode_ping(&[8; BLCKSZ])).await.unwrap();
    let status = format!("/proc/{}/status", launched.process.pid());
    let status = std::fs::read_to_string(status).unwrap();
    assert!(status.lines().any(|line| line == "Seccomp:\t2"), "{status}");
    launched.process.kill().await.unwrap();
}

#[test]
fn the_end_of_input_ends_the_process_in_peace() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wal_redo"));
    command.args(["--wal-redo", "--pg-version", "18"]).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_program_that_cannot_know_its_version_says_what_is_missing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wal_redo"));
    let output = command.arg("--wal-redo").stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--pg-version"), "{said}");
}
