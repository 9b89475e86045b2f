//! WAL goes to object storage, leaves the local disk, and is still read.

mod common;

use std::path::Path;

use common::proposer::{MiniProposer, SEGMENT_SIZE};
use common::stock::StockWal;
use common::{TestSafekeeper, eventually, new_ttid, start_broker};
use postgres_ffi::xlog::segment_file_name;
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
