//! Synchronising safekeepers, over real sockets.

use crate::support::safekeepers::Safekeeper;
use compute_tools::proposer::{Identity, sync};
use compute_tools::spec::safekeeper_options;
use postgres_client::ConnectOptions;
use postgres_ffi::PgMajor;
use utils::{Lsn, TenantId, TenantTimelineId, TimelineId};

fn new_ttid() -> TenantTimelineId {
    TenantTimelineId::new(TenantId::generate(), TimelineId::generate())
}

async fn safekeepers(ttid: TenantTimelineId, count: u64) -> Vec<Safekeeper> {
    let mut safekeepers = Vec::new();
    for id in 1..=count {
        safekeepers.push(Safekeeper::start(ttid, id, PgMajor::V15).await);
    }
    safekeepers
}

fn options(safekeepers: &[Safekeeper], ttid: TenantTimelineId) -> Vec<ConnectOptions> {
    let options = |safekeeper: &Safekeeper| ConnectOptions {
        options: safekeeper_options(ttid),
        ..ConnectOptions::new("127.0.0.1", safekeeper.port)
    };
    safekeepers.iter().map(options).collect()
}

fn identity(ttid: TenantTimelineId) -> Identity {
    Identity { ttid, system_id: 0, pg_version_num: 150_018 }
}

#[tokio::test]
async fn empty_safekeepers_agree_on_nothing() {
    let ttid = new_ttid();
    let safekeepers = safekeepers(ttid, 3).await;
    let options = options(&safekeepers, ttid);
    assert_eq!(sync(identity(ttid), &options).await.unwrap(), Lsn(0));
    assert_eq!(sync(identity(ttid), &options).await.unwrap(), Lsn(0));
    assert!(safekeepers.iter().filter(|sk| sk.term() == 2).count() >= 2);
}

#[tokio::test]
async fn a_quorum_is_enough() {
    let ttid = new_ttid();
    let safekeepers = safekeepers(ttid, 3).await;
    safekeepers[1].go_offline();
    let options = options(&safekeepers, ttid);
    assert_eq!(sync(identity(ttid), &options).await.unwrap(), Lsn(0));
}

#[tokio::test]
async fn a_quorum_is_waited_for() {
    let ttid = new_ttid();
    let safekeepers = safekeepers(ttid, 3).await;
    safekeepers[0].go_offline();
    safekeepers[1].go_offline();
    let options = options(&safekeepers, ttid);
    let returning = safekeepers[0].clone();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        returning.come_back();
    });
    assert_eq!(sync(identity(ttid), &options).await.unwrap(), Lsn(0));
}
