//! Partial segments in the archive, and timelines that move there and come back.

mod common;

use std::path::Path;

use common::crafted::{START, SYSTEM_ID, wal};
use common::proposer::{MiniProposer, SEGMENT_SIZE};
use common::{TestSafekeeper, eventually, new_ttid, read_wal, start_broker};
use safekeeper_api::models::SafekeeperTimelineInfo;
use utils::{Lsn, TenantTimelineId};
use wal_quorum::TermHistory;
use wal_quorum::control_file::{EvictionState, UploadStatus};

async fn start(archive: &Path, more: &[&str]) -> TestSafekeeper {
    let storage = format!("--remote-storage={{local_path='{}'}}", archive.display());
    let mut options = vec![
        storage.as_str(),
        "--partial-backup-timeout=50ms",
        "--control-file-save-interval=50ms",
    ];
    options.extend(more);
    TestSafekeeper::start_with(1, &start_broker().await, &options)
}

/// A timeline with a bit more than a segment of committed WAL and no compute.
async fn fill(safekeeper: &TestSafekeeper, ttid: TenantTimelineId) -> (Vec<u8>, Lsn) {
    let bytes = wal(START, SEGMENT_SIZE as usize + 100_000, b'a');
    let mut proposer = MiniProposer::lead_from(safekeeper, ttid, SYSTEM_ID, START).await;
    let end = proposer.push(START, &bytes).await;
    (bytes, end)
}

async fn pageserver_has(safekeeper: &TestSafekeeper, ttid: TenantTimelineId, lsn: Lsn) {
    let info = SafekeeperTimelineInfo { remote_consistent_lsn: lsn, ..Default::default() };
    let client = safekeeper.http_client();
    client.record_safekeeper_info(ttid.tenant_id, ttid.timeline_id, &info).await.unwrap();
}

async fn wait_until_offloaded(safekeeper: &TestSafekeeper, ttid: TenantTimelineId, at: Lsn) {
    eventually("the timeline is offloaded", async || {
        safekeeper.control_file(ttid).eviction_state == EvictionState::Offloaded(at)
            && safekeeper.segments(ttid).is_empty()
    })
    .await;
}

fn archived_partials(archive: &Path, ttid: TenantTimelineId) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(archive.join(ttid.to_string())) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_str().unwrap().ends_with(".partial")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_segment_is_archived_once_wal_stops_growing() {
    let archive = tempfile::tempdir().unwrap();
    let safekeeper = start(archive.path(), &[]).await;
    let ttid = new_ttid();
    let first = wal(START, 50_000, b'a');
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, SYSTEM_ID, START).await;
    let middle = proposer.push(START, &first).await;
    let holds = |end: Lsn| {
        let partials = archived_partials(archive.path(), ttid);
        let length = end.segment_offset(SEGMENT_SIZE) as usize;
        let [only] = partials.as_slice() else { return false };
        only.to_str().unwrap().contains(&format!("_1_{:016X}_{:016X}_sk1.partial", end.0, end.0))
            && std::fs::read(only).is_ok_and(|content| content.len() == length)
    };
    eventually("the partial segment is archived", async || holds(middle)).await;
    let end = proposer.push(middle, &wal(middle, 50_000, b'b')).await;
    eventually("it is replaced by a longer one", async || holds(end)).await;
    let content = std::fs::read(&archived_partials(archive.path(), ttid)[0]).unwrap();
    let name = &safekeeper.segments(ttid)[0];
    let local = std::fs::read(safekeeper.timeline_dir(ttid).join(name)).unwrap();
    assert!(local.starts_with(&content));
    // The object goes first, its record after it.
    eventually("only the new one is on record", async || {
        let records = safekeeper.control_file(ttid).partial_backup.segments;
        records.iter().map(|it| it.status).eq([UploadStatus::Uploaded])
    })
    .await;
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_timeline_moves_to_the_archive_and_comes_back_for_readers() {
    let archive = tempfile::tempdir().unwrap();
    let options = ["--enable-offload", "--delete-offloaded-wal"];
    let safekeeper = start(archive.path(), &options).await;
    let ttid = new_ttid();
    let (bytes, end) = fill(&safekeeper, ttid).await;
    pageserver_has(&safekeeper, ttid, end).await;
    wait_until_offloaded(&safekeeper, ttid, end).await;
    let status = safekeeper.status(ttid).await;
    assert_eq!((status.flush_lsn, status.commit_lsn), (end, end));
    assert_eq!(status.acceptor_state.epoch, 1);

    let safekeeper = safekeeper.crash_and_restart().await;
    assert_eq!(safekeeper.status(ttid).await.flush_lsn, end);
    assert!(safekeeper.segments(ttid).is_empty());
    assert!(read_wal(&safekeeper, ttid, START, end).await == bytes, "other bytes come back");
    wait_until_offloaded(&safekeeper, ttid, end).await;
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offloaded_timeline_comes_back_for_a_compute() {
    let archive = tempfile::tempdir().unwrap();
    let options = ["--enable-offload", "--delete-offloaded-wal"];
    let safekeeper = start(archive.path(), &options).await;
    let ttid = new_ttid();
    let (_, end) = fill(&safekeeper, ttid).await;
    pageserver_has(&safekeeper, ttid, end).await;
    wait_until_offloaded(&safekeeper, ttid, end).await;

    let (mut proposer, greeting) = MiniProposer::connect(&safekeeper, ttid, SYSTEM_ID).await;
    let term = greeting.term + 1;
    assert_eq!(proposer.vote(term).await.flush_lsn, end);
    assert_eq!(safekeeper.control_file(ttid).eviction_state, EvictionState::Present);
    let history = TermHistory::from([(1, START), (term, end)]);
    proposer.announce(history, end, START).await;
    let new = wal(end, 60_000, b'b');
    let new_end = proposer.push(end, &new).await;
    assert!(read_wal(&safekeeper, ttid, end, new_end).await == new);
    drop(proposer);
    pageserver_has(&safekeeper, ttid, new_end).await;
    wait_until_offloaded(&safekeeper, ttid, new_end).await;
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_record_at_the_end_does_not_keep_a_timeline() {
    let archive = tempfile::tempdir().unwrap();
    let safekeeper = start(archive.path(), &["--enable-offload", "--delete-offloaded-wal"]).await;
    let ttid = new_ttid();
    let bytes = wal(START, 50_000, b'a');
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, SYSTEM_ID, START).await;
    let end = proposer.push(START, &bytes).await;
    let half = &wal(end, 10_000, b'b')[..5_000];
    assert_eq!(proposer.append(end, half, end).await.flush_lsn, end);
    drop(proposer);
    pageserver_has(&safekeeper, ttid, end).await;
    wait_until_offloaded(&safekeeper, ttid, end).await;
    assert!(read_wal(&safekeeper, ttid, START, end).await == bytes);
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_deletion_the_local_segment_stays_and_is_used() {
    let archive = tempfile::tempdir().unwrap();
    let safekeeper = start(archive.path(), &["--enable-offload"]).await;
    let ttid = new_ttid();
    let (bytes, end) = fill(&safekeeper, ttid).await;
    pageserver_has(&safekeeper, ttid, end).await;
    eventually("the timeline is offloaded", async || {
        safekeeper.control_file(ttid).eviction_state == EvictionState::Offloaded(end)
    })
    .await;
    assert_eq!(safekeeper.segments(ttid).len(), 1);
    assert!(read_wal(&safekeeper, ttid, START, end).await == bytes);
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_an_offloaded_timeline_empties_the_archive() {
    let archive = tempfile::tempdir().unwrap();
    let safekeeper = start(archive.path(), &["--enable-offload", "--delete-offloaded-wal"]).await;
    let ttid = new_ttid();
    let (_, end) = fill(&safekeeper, ttid).await;
    pageserver_has(&safekeeper, ttid, end).await;
    wait_until_offloaded(&safekeeper, ttid, end).await;
    assert_eq!(archived_partials(archive.path(), ttid).len(), 1);
    let client = safekeeper.http_client();
    client.delete_timeline(ttid.tenant_id, ttid.timeline_id, false).await.unwrap();
    assert!(archived_partials(archive.path(), ttid).is_empty());
    assert!(!safekeeper.timeline_dir(ttid).exists());
    safekeeper.stop().await;
}
