//! What safekeepers tell each other through a broker.

mod common;

use std::time::Duration;

use common::crafted::{START, SYSTEM_ID, wal};
use common::proposer::MiniProposer;
use common::{TestSafekeeper, eventually, new_ttid, start_broker};
use safekeeper_api::models::SafekeeperTimelineInfo;
use storage_broker::proto::{
    FilterTenantTimelineId, MessageType, SafekeeperDiscoveryRequest, SubscribeByFilterRequest,
    TypeSubscription, TypedMessage,
};
use tokio_stream::StreamExt;
use utils::{Lsn, NodeId};

#[tokio::test(flavor = "multi_thread")]
async fn peers_learn_of_each_other_and_of_commits() {
    let endpoint = start_broker().await;
    let one = TestSafekeeper::start_with(1, &endpoint, &["--availability-zone=a"]);
    let two = TestSafekeeper::start_with(2, &endpoint, &[]);
    let ttid = new_ttid();
    let start = Lsn(0x100_0028);
    let _first = MiniProposer::lead_from(&one, ttid, 7, start).await;
    let _second = MiniProposer::lead_from(&two, ttid, 7, start).await;
    for safekeeper in [&one, &two] {
        eventually("both safekeepers are known", async || {
            let peers = safekeeper.status(ttid).await.peers;
            peers.iter().map(|peer| peer.sk_id).eq([NodeId(1), NodeId(2)])
        })
        .await;
    }
    let info = SafekeeperTimelineInfo { remote_consistent_lsn: start + 8, ..Default::default() };
    let client = one.http_client();
    client.record_safekeeper_info(ttid.tenant_id, ttid.timeline_id, &info).await.unwrap();
    eventually("remote_consistent_lsn travels to the peer", async || {
        two.status(ttid).await.remote_consistent_lsn == start + 8
    })
    .await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safekeeper_that_does_not_publish_is_still_discovered() {
    let endpoint = start_broker().await;
    let quiet = ["--disable-periodic-broker-push"];
    let safekeeper = TestSafekeeper::start_with(3, &endpoint, &quiet);
    let ttid = new_ttid();
    let _proposer = MiniProposer::lead_from(&safekeeper, ttid, 7, Lsn(0x100_0028)).await;
    let mut client =
        storage_broker::client::connect(&endpoint, Duration::from_secs(5), None).unwrap();
    let subscription = SubscribeByFilterRequest {
        types: vec![TypeSubscription { r#type: MessageType::SafekeeperDiscoveryResponse.into() }],
        tenant_timeline_id: Some(FilterTenantTimelineId {
            enabled: true,
            tenant_timeline_id: Some(ttid.into()),
        }),
    };
    let mut answers = client.subscribe_by_filter(subscription).await.unwrap().into_inner();
    let request = TypedMessage {
        r#type: MessageType::SafekeeperDiscoveryRequest.into(),
        safekeeper_timeline_info: None,
        safekeeper_discovery_request: Some(SafekeeperDiscoveryRequest {
            tenant_timeline_id: Some(ttid.into()),
        }),
        safekeeper_discovery_response: None,
    };
    // The safekeeper may not have subscribed yet, so ask until somebody answers.
    let answer = loop {
        client.publish_one(request.clone()).await.unwrap();
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(200), answers.next()).await {
            break answer.unwrap().unwrap().safekeeper_discovery_response.unwrap();
        }
    };
    assert_eq!(answer.safekeeper_id, 3);
    assert_eq!(answer.safekeeper_connstr, safekeeper.pg.to_string());
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_brings_a_timeline_to_rest_is_told_to_its_peers() {
    let endpoint = start_broker().await;
    let one = TestSafekeeper::start_with(1, &endpoint, &[]);
    let two = TestSafekeeper::start_with(2, &endpoint, &[]);
    let ttid = new_ttid();
    let bytes = wal(START, 100_000, b'a');
    let mut end = START;
    for safekeeper in [&one, &two] {
        let mut proposer = MiniProposer::lead_from(safekeeper, ttid, SYSTEM_ID, START).await;
        end = proposer.push(START, &bytes).await;
    }
    // The computes are gone; with this the first has nothing left to do, and falls silent.
    let info = SafekeeperTimelineInfo { remote_consistent_lsn: end, ..Default::default() };
    let client = one.http_client();
    client.record_safekeeper_info(ttid.tenant_id, ttid.timeline_id, &info).await.unwrap();
    eventually("the peer knows as well", async || {
        two.status(ttid).await.remote_consistent_lsn == end
    })
    .await;
    one.stop().await;
    two.stop().await;
}
