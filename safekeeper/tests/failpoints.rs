//! What happens when things are made to fail. Only in builds with failpoints.
#![cfg(feature = "testing")]

mod common;

use common::proposer::MiniProposer;
use common::{TestSafekeeper, new_ttid};
use utils::Lsn;

async fn configure(safekeeper: &TestSafekeeper, actions: &str) -> reqwest::StatusCode {
    let body = serde_json::json!([{ "name": "sk-write-zeroes", "actions": actions }]);
    let url = format!("http://{}/v1/failpoints", safekeeper.http);
    reqwest::Client::new().put(url).json(&body).send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_made_ends_the_session_and_leaves_nothing() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let start = Lsn(0x100_0028);
    assert_eq!(configure(&safekeeper, "dance").await, 400);
    assert_eq!(configure(&safekeeper, "return").await, 200);
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, 7, start).await;
    let error = proposer.error().await;
    assert!(error.contains("failpoint: sk-write-zeroes"), "{error}");
    let names: Vec<_> = std::fs::read_dir(safekeeper.timeline_dir(ttid))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["safekeeper.control"]);

    assert_eq!(configure(&safekeeper, "off").await, 200);
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, 7, start).await;
    assert_eq!(proposer.append(start, &[], start).await.flush_lsn, start);
    safekeeper.stop().await;
}
