//! Endpoints that only read.

use std::time::Duration;

use compute_tools::spec::ComputeMode;

use crate::support::endpoint::{Endpoint, PATIENCE, Storage};

#[tokio::test(flavor = "multi_thread")]
async fn a_static_endpoint_reads_and_refuses_to_write() {
    let storage = Storage::start().await;
    let mode = ComputeMode::Static(storage.backup.start_lsn);
    let mut endpoint = Endpoint::running(storage, mode).await;
    assert_eq!(endpoint.ask("select pg_is_in_recovery()").await, "t");
    let written = endpoint.client().await.simple_query("create table t(i int)").await;
    assert_eq!(written.unwrap_err().sqlstate(), Some("25006"));
    endpoint.terminate.cancel();
    endpoint.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_follows_the_primary() {
    let storage = Storage::start().await;
    let mut primary = Endpoint::running(storage.clone(), ComputeMode::Primary).await;
    let mut replica = Endpoint::running(storage, ComputeMode::Replica).await;
    let mut client = primary.client().await;
    client.simple_query("create table t as select generate_series(1, 1000)").await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while replica.ask("select to_regclass('t') is not null").await != "t" {
        assert!(tokio::time::Instant::now() < deadline, "the replica does not follow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(replica.ask("select count(*) from t").await, "1000");
    for endpoint in [&mut replica, &mut primary] {
        endpoint.terminate.cancel();
        endpoint.ended().await.unwrap();
    }
}
