//! Stock tools as clients: `pg_receivewal` streams, `pg_waldump` accepts the result.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::proposer::{MiniProposer, SEGMENT_SIZE};
use common::stock::StockWal;
use common::{TestSafekeeper, eventually, new_ttid};
use postgres_ffi::xlog::segment_file_name;
use utils::{Lsn, TenantTimelineId};

fn connection_string(safekeeper: &TestSafekeeper, ttid: TenantTimelineId) -> String {
    format!(
        "host=127.0.0.1 port={} user=nobody options='-c tenant_id={} -c timeline_id={}'",
        safekeeper.pg.port(),
        ttid.tenant_id,
        ttid.timeline_id
    )
}

fn waldump(wal: &StockWal, dir: &Path, start: Lsn, end: Lsn) -> String {
    let (start, end) = (start.to_string(), end.to_string());
    let args = ["-p", dir.to_str().unwrap(), "-s", &start, "-e", &end];
    let output =
        Command::new(wal.cluster.bin_dir().join("pg_waldump")).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pg_waldump failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_receivewal_streams_what_pg_waldump_accepts() {
    let wal = StockWal::generate();
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, wal.system_id, wal.start).await;
    let (first, rest) = wal.bytes.split_at(200_000);
    let middle = proposer.push_partial(wal.start, first).await;

    let target = tempfile::tempdir().unwrap();
    // It stops once it has gone beyond this.
    let stop = Lsn(wal.end().0 - 1);
    let child = Command::new(wal.cluster.bin_dir().join("pg_receivewal"))
        .args(["-D", target.path().to_str().unwrap(), "--no-loop", "--no-sync"])
        .args(["-E", &stop.to_string(), "-d", &connection_string(&safekeeper, ttid)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("pg_receivewal streams", async || {
        !safekeeper.status(ttid).await.walsenders.is_empty()
    })
    .await;
    proposer.push(middle, rest).await;
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pg_receivewal failed: {errors}");

    let last = target.path().join(segment_file_name(wal.end().segment_number(SEGMENT_SIZE)));
    if !last.exists() {
        std::fs::rename(last.with_extension("partial"), &last).unwrap();
    }
    let received = waldump(&wal, target.path(), wal.start, wal.end());
    let original = waldump(&wal, &wal.cluster.pgdata().join("pg_wal"), wal.start, wal.end());
    assert!(original.lines().count() > 1000);
    assert!(received == original, "pg_waldump lists other records");
    safekeeper.stop().await;
}
