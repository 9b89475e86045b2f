//! Which engine gets what, and the life of helper processes. The helpers are shell scripts, so
//! that the tests decide what they do; the real one has tests of its own.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres_ffi::xlog::RawRecord;
use postgres_ffi::{BLCKSZ, ForkNumber, RelTag};
use tempfile::TempDir;
use utils::TenantId;

use super::*;
use crate::config::PageServerConf;
use crate::redo::HelperError;

const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main };
const HEAP: u8 = 10;
const CUSTOM: u8 = 200;

struct Setup {
    directory: TempDir,
    cancel: CancellationToken,
    manager: RedoManager,
}

impl Setup {
    fn with_conf(directory: TempDir, command: &str, more: &str) -> Setup {
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        let document =
            format!("id = 1\nremote_storage = {{ local_path = 'x' }}\n{command}\n{more}");
        let conf = PageServerConf::parse(&document, &[], &path).unwrap();
        let shard = TenantShardId::unsharded(TenantId::generate());
        let cancel = CancellationToken::new();
        let manager = RedoManager::new(&conf.redo, shard, path, cancel.clone());
        Setup { directory, cancel, manager }
    }

    /// Applies records of these resource managers to a page of zeroes.
    async fn apply(&self, rmids: &[u8]) -> Result<Bytes, ReconstructError> {
        let record = |rmid| RawRecord::with_main_data(rmid, 0, 0, &[]).to_bytes(Lsn(0));
        let records: Vec<_> = rmids.iter().map(|id| (Lsn(64), Bytes::from(record(*id)))).collect();
        let base = Some(Bytes::from(vec![0; BLCKSZ]));
        self.manager.apply(Key::rel_block(REL, 0), base, &records, PgMajor::V16).await
    }

    async fn stop(self) -> TempDir {
        self.cancel.cancel();
        self.manager.shutdown().await;
        self.directory
    }
}

/// A script that is a program of its own, for the arguments that a helper gets come before.
fn script_file(script: &str) -> (TempDir, String) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("helper-v16");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let template = directory.path().join("helper-v{version}");
    (directory, format!("wal_redo_helper = ['{}', 'extra-{{version}}']", template.display()))
}

fn with_helper(script: &str, more: &str) -> Setup {
    let (directory, command) = script_file(script);
    Setup::with_conf(directory, &command, more)
}

fn exists(pid: u32) -> bool {
    kill(Pid::from_raw(pid as i32), None).is_ok()
}

/// Reads a request with a base page and one record of `record` bytes, then answers with x.
fn answering(record: usize) -> String {
    let length = 22 + 8214 + 13 + record + 22;
    format!(
        "while [ \"$(head -c 1)\" = B ]; do head -c {} > /dev/null; \
         head -c 8192 /dev/zero | tr '\\0' x; done",
        length - 1
    )
}

#[tokio::test]
async fn records_of_built_in_resource_managers_stay_here() {
    let setup = with_helper(&answering(24), "");
    assert_eq!(setup.apply(&[HEAP]).await.unwrap(), vec![0; BLCKSZ]);
    assert!(setup.manager.process_ids().await.is_empty(), "no process was needed");
    assert!(setup.manager.last_redo_at().is_some());
    setup.stop().await;
}

#[tokio::test]
async fn records_of_custom_resource_managers_go_to_the_helper() {
    let setup = with_helper(&answering(24), "");
    assert_eq!(setup.apply(&[CUSTOM]).await.unwrap(), vec![b'x'; BLCKSZ]);
    let ids = setup.manager.process_ids().await;
    assert_eq!(setup.apply(&[CUSTOM]).await.unwrap(), vec![b'x'; BLCKSZ]);
    assert_eq!(setup.manager.process_ids().await, ids, "the process is kept");
    setup.stop().await;
    assert!(!exists(ids[0]), "the process ends with its tenant");
}

#[tokio::test]
async fn without_a_helper_a_custom_record_is_refused_with_its_name() {
    let setup = Setup::with_conf(tempfile::tempdir().unwrap(), "", "");
    let block = [0u8, 0, 0, 0];
    let rel = [1663u32, 5, 16384, 0].into_iter().flat_map(u32::to_le_bytes);
    let body = block.into_iter().chain(rel).collect();
    let record = RawRecord { xid: 0, info: 0x10, rmid: CUSTOM, body }.to_bytes(Lsn(0));
    let mut page = vec![0; BLCKSZ];
    page[14] = 1;
    let records = [(Lsn(64), Bytes::from(record))];
    let key = Key::rel_block(REL, 0);
    let result = setup.manager.apply(key, Some(page.into()), &records, PgMajor::V16).await;
    let Err(ReconstructError::Redo { source, .. }) = result else { panic!("{result:?}") };
    assert!(source.to_string().contains("custom"), "{source}");
    setup.stop().await;
}

#[tokio::test]
async fn the_helper_can_be_made_to_apply_everything() {
    let setup = with_helper(&answering(24), "wal_redo_engine = 'process'");
    assert_eq!(setup.apply(&[HEAP]).await.unwrap(), vec![b'x'; BLCKSZ]);
    setup.stop().await;
}

#[tokio::test]
async fn a_killed_process_is_replaced_and_the_request_tried_again() {
    let setup = with_helper(&answering(24), "");
    setup.apply(&[CUSTOM]).await.unwrap();
    let before = setup.manager.process_ids().await;
    kill(Pid::from_raw(before[0] as i32), Signal::SIGKILL).unwrap();
    assert_eq!(setup.apply(&[CUSTOM]).await.unwrap(), vec![b'x'; BLCKSZ]);
    let after = setup.manager.process_ids().await;
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    assert!(!exists(before[0]), "no zombie is left");
    setup.stop().await;
}

#[tokio::test]
async fn a_helper_that_always_fails_is_tried_twice() {
    let setup = with_helper("echo started >> \"${0%/*}/starts\"; echo reason >&2", "");
    let error = setup.apply(&[CUSTOM]).await.unwrap_err();
    let ReconstructError::Helper { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(source, HelperError::Process { attempts: 2, .. }), "{source}");
    assert!(setup.manager.process_ids().await.is_empty());
    let directory = setup.stop().await;
    let starts = std::fs::read_to_string(directory.path().join("starts")).unwrap();
    assert_eq!(starts.lines().count(), 2);
}

#[tokio::test]
async fn the_helper_is_told_what_it_is_for() {
    let setup = with_helper("echo \"$@\" > \"${0%/*}/arguments\"; env > \"${0%/*}/env\"", "");
    setup.apply(&[CUSTOM]).await.unwrap_err();
    let directory = setup.stop().await;
    let arguments = std::fs::read_to_string(directory.path().join("arguments")).unwrap();
    assert!(arguments.starts_with("--wal-redo --tenant-shard-id "), "{arguments}");
    assert!(arguments.ends_with("extra-16\n"), "{arguments}");
    let environment = std::fs::read_to_string(directory.path().join("env")).unwrap();
    assert!(!environment.contains("CARGO"), "{environment}");
}

#[tokio::test]
async fn a_request_that_fails_is_recorded_if_that_was_asked_for() {
    let setup = with_helper("exit 1", "wal_redo_record_failures = true");
    setup.apply(&[CUSTOM]).await.unwrap_err();
    let directory = setup.stop().await;
    let entries = std::fs::read_dir(directory.path()).unwrap();
    let saved: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "walredo"))
        .collect();
    assert_eq!(saved.len(), 1);
    assert_eq!(std::fs::read(&saved[0]).unwrap().len(), 22 + 8214 + 13 + 24 + 22);
}

#[tokio::test]
async fn an_idle_process_is_ended() {
    let setup = with_helper(&answering(24), "");
    setup.apply(&[CUSTOM]).await.unwrap();
    setup.manager.quiesce(Duration::from_secs(3600)).await;
    assert_eq!(setup.manager.process_ids().await.len(), 1, "it was just used");
    setup.manager.quiesce(Duration::ZERO).await;
    assert!(setup.manager.process_ids().await.is_empty());
    assert_eq!(setup.apply(&[CUSTOM]).await.unwrap(), vec![b'x'; BLCKSZ]);
    setup.stop().await;
}

#[tokio::test]
async fn no_process_is_started_for_a_tenant_that_shuts_down() {
    let setup = with_helper(&answering(24), "");
    setup.cancel.cancel();
    let error = setup.apply(&[CUSTOM]).await.unwrap_err();
    let shutting_down = |source: &HelperError| matches!(source, HelperError::ShuttingDown);
    assert!(matches!(&error, ReconstructError::Helper { source, .. } if shutting_down(source)));
    setup.stop().await;
}
