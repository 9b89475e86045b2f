//! WAL goes to object storage, leaves the local disk, and is still read.

mod common;

use std::path::Path;

use common::crafted::{START, SYSTEM_ID};
use common::proposer::{MiniProposer, SEGMENT_SIZE};
use common::stock::StockWal;
use common::{TestSafekeeper, eventually, new_ttid, start_broker};
use postgres_ffi::PgMajor;
use postgres_ffi::xlog::{RawRecord, WalBuilder, WalIdentity, segment_file_name};
use pq_proto::WalSenderMessage;
use safekeeper_api::models::SafekeeperTimelineInfo;
use utils::{Lsn, TenantTimelineId};

fn archived(archive: &Path, ttid: TenantTimelineId, segno: u64) -> std::path::PathBuf {
    archive.join(ttid.to_string()).join(segment_file_name(segno))
}

async fn read(
    safekeeper: &TestSafekeeper,
    ttid: TenantTimelineId,
    start: Lsn,
    end: Lsn,
) -> Vec<u8> {
    let client = safekeeper.connect_options(ttid, "pageserver").connect().await.unwrap();
    let command = format!("START_REPLICATION PHYSICAL {start}");
    let mut stream = client.copy_both(&command).await.unwrap();
    let mut bytes = Vec::new();
    while start + (bytes.len() as u64) < end {
        let payload = stream.recv().await.unwrap().expect("more WAL is to come");
        if let WalSenderMessage::XLogData(data) = WalSenderMessage::parse(payload).unwrap() {
            bytes.extend_from_slice(&data.data);
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_wal_is_removed_locally_and_read_from_the_archive() {
    let wal = StockWal::generate();
    let archive = tempfile::tempdir().unwrap();
    let storage = format!("--remote-storage={{local_path='{}'}}", archive.path().display());
    // Election needs to hear of the safekeeper itself.
    let safekeeper = TestSafekeeper::start_with(1, &start_broker().await, &[&storage]);
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, wal.system_id, wal.start).await;
    let end = proposer.push(wal.start, &wal.bytes).await;
    let (first, last) = (wal.start.segment_number(SEGMENT_SIZE), end.segment_number(SEGMENT_SIZE));
    eventually("all complete segments are archived", async || {
        safekeeper.status(ttid).await.backup_lsn == Lsn(last * SEGMENT_SIZE)
    })
    .await;
    for segno in first..last {
        let local = safekeeper.timeline_dir(ttid).join(segment_file_name(segno));
        let remote = std::fs::read(archived(archive.path(), ttid, segno)).unwrap();
        assert!(std::fs::read(local).unwrap() == remote, "segment {segno} differs");
    }
    assert!(!archived(archive.path(), ttid, last).exists());

    // No peer has anything, which does not matter: whoever lags is refilled from the archive.
    let info = SafekeeperTimelineInfo { remote_consistent_lsn: end, ..Default::default() };
    let client = safekeeper.http_client();
    client.record_safekeeper_info(ttid.tenant_id, ttid.timeline_id, &info).await.unwrap();
    client.checkpoint(ttid.tenant_id, ttid.timeline_id).await.unwrap();
    let local = safekeeper.timeline_dir(ttid).join(segment_file_name(last - 1));
    eventually("archived segments leave the disk", async || !local.exists()).await;
    assert!(read(&safekeeper, ttid, wal.start, end).await == wal.bytes, "other bytes come back");

    client.delete_timeline(ttid.tenant_id, ttid.timeline_id, false).await.unwrap();
    assert!(!archived(archive.path(), ttid, first).exists());
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_deletion_leaves_the_archive_alone() {
    let wal = StockWal::generate();
    let archive = tempfile::tempdir().unwrap();
    let storage = format!("--remote-storage={{local_path='{}'}}", archive.path().display());
    let safekeeper = TestSafekeeper::start_with(1, &start_broker().await, &[&storage]);
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, wal.system_id, wal.start).await;
    proposer.push(wal.start, &wal.bytes).await;
    let first = archived(archive.path(), ttid, wal.start.segment_number(SEGMENT_SIZE));
    eventually("the first segment is archived", async || first.exists()).await;
    let client = safekeeper.http_client();
    client.delete_timeline(ttid.tenant_id, ttid.timeline_id, true).await.unwrap();
    assert!(first.exists());
    safekeeper.stop().await;
}

/// A record, then a switch to the next segment with all the zeros in between.
fn switched_wal() -> (Vec<u8>, usize) {
    let identity = WalIdentity { major: PgMajor::V15, system_id: SYSTEM_ID };
    let mut builder = WalBuilder::new(identity, START, Lsn::INVALID);
    builder.append(&RawRecord::logical_message("test", &[b'a'; 100]));
    let switch = (builder.append(&RawRecord::switch()) - START) as usize;
    (builder.into_bytes(), switch)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_was_left_early_is_archived_once_its_zeros_have_come() {
    let archive = tempfile::tempdir().unwrap();
    let storage = format!("--remote-storage={{local_path='{}'}}", archive.path().display());
    let safekeeper = TestSafekeeper::start_with(1, &start_broker().await, &[&storage]);
    let ttid = new_ttid();
    let (bytes, switch) = switched_wal();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, SYSTEM_ID, START).await;
    // The switch itself and a little more; the commit position is in the next segment at once.
    let (first, zeros) = bytes.split_at(switch + 1000);
    let middle = proposer.push_partial(START, first).await;
    let end = START + bytes.len() as u64;
    assert_eq!(safekeeper.status(ttid).await.commit_lsn, end);
    let url = format!("http://{}/metrics", safekeeper.http);
    let metric = async |name: &str| -> f64 {
        let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    };
    eventually("it is elected", async || {
        metric("safekeeper_wal_backup_tasks_started_total ").await > 0.0
    })
    .await;
    // No record comes with the zeros, so nothing but they says that the segment is whole.
    proposer.push_partial(middle, zeros).await;
    eventually("the segment is archived", async || safekeeper.status(ttid).await.backup_lsn == end)
        .await;
    assert_eq!(metric("safekeeper_backup_errors_total ").await, 0.0);
    safekeeper.stop().await;
}
