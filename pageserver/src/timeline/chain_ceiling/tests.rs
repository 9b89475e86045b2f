use std::num::NonZeroU32;

use pageserver_api::WalRecord;
use postgres_ffi::SlruKind;

use super::super::testing::{TimelineHarness, test_ctx};
use super::*;

const CEILING: usize = 16;
/// A page of the commit log: its records can be made without a server.
const CLOG_PAGE: Key = Key::slru_block(SlruKind::Clog, 0, 0);
const OTHER_PAGE: Key = Key::slru_block(SlruKind::Clog, 0, 1);

fn commit(xid: u32) -> Value {
    Value::WalRecord(WalRecord::ClogSetCommitted { xids: vec![xid], timestamp: i64::from(xid) })
}

/// Where record number `number` ends.
fn lsn(number: u32) -> Lsn {
    Lsn(0x100 + 8 * u64::from(number))
}

async fn put(timeline: &Arc<Timeline>, key: Key, lsn: Lsn, value: Value) {
    let mut writer = timeline.writer().await;
    writer.put_batch(vec![(key, lsn, value)], &test_ctx()).await.unwrap();
    writer.finish_write(lsn);
}

/// A timeline whose layer has an image of a page, and `records` records on it.
async fn timeline_with_chain(harness: &TimelineHarness, records: u32) -> Arc<Timeline> {
    harness.configure(|conf| {
        conf.max_delta_chain_length = NonZeroU32::new(CEILING as u32).unwrap();
    });
    let timeline = harness.create_timeline();
    put(&timeline, CLOG_PAGE, lsn(0), Value::Image(Bytes::from(vec![0; 8192]))).await;
    for xid in 1..=records {
        put(&timeline, CLOG_PAGE, lsn(xid), commit(xid)).await;
    }
    timeline
}

async fn records_to_apply(timeline: &Timeline, key: Key, lsn: Lsn) -> usize {
    let mut state = ReconstructState::new();
    let keys = KeySpace::single(key..key.next());
    timeline.gather(keys, lsn, &mut state, &test_ctx()).await.unwrap();
    state.into_keys().remove(&key).unwrap().unwrap().records.len()
}

#[tokio::test]
async fn no_read_of_a_flushed_layer_applies_more_than_the_ceiling() {
    let harness = TimelineHarness::new();
    let records = 5 * CEILING as u32 + 3;
    let timeline = timeline_with_chain(&harness, records).await;
    let all = || (0..=records).map(lsn);
    let mut before = Vec::new();
    for lsn in all() {
        before.push(timeline.get(CLOG_PAGE, lsn, &test_ctx()).await.unwrap());
    }
    let last = lsn(records);
    assert_eq!(records_to_apply(&timeline, CLOG_PAGE, last).await, records as usize);

    timeline.freeze_and_flush().await.unwrap();
    let mut longest = 0;
    for (lsn, before) in all().zip(before) {
        assert_eq!(timeline.get(CLOG_PAGE, lsn, &test_ctx()).await.unwrap(), before, "at {lsn}");
        longest = longest.max(records_to_apply(&timeline, CLOG_PAGE, lsn).await);
    }
    assert!((CEILING - 2..=CEILING).contains(&longest), "{longest} records in a row");
}

#[tokio::test]
async fn a_chain_that_began_in_an_older_layer_is_cut_with_what_lies_below() {
    let harness = TimelineHarness::new();
    let timeline = timeline_with_chain(&harness, 3).await;
    timeline.freeze_and_flush().await.unwrap();
    for xid in 4..=3 + CEILING as u32 {
        put(&timeline, CLOG_PAGE, lsn(xid), commit(xid)).await;
    }
    let last = timeline.last_record_lsn();
    let before = timeline.get(CLOG_PAGE, last, &test_ctx()).await.unwrap();
    assert_eq!(records_to_apply(&timeline, CLOG_PAGE, last).await, 3 + CEILING);
    timeline.freeze_and_flush().await.unwrap();
    assert_eq!(records_to_apply(&timeline, CLOG_PAGE, last).await, 0);
    assert_eq!(timeline.get(CLOG_PAGE, last, &test_ctx()).await.unwrap(), before);
}

#[tokio::test]
async fn a_page_that_cannot_be_read_keeps_its_records_and_the_flush_succeeds() {
    let harness = TimelineHarness::new();
    let timeline = timeline_with_chain(&harness, 1).await;
    // Without an image below, these records change something that is not there.
    for xid in 2..=2 + CEILING as u32 {
        put(&timeline, OTHER_PAGE, lsn(xid), commit(xid)).await;
    }
    timeline.freeze_and_flush().await.unwrap();
    let last = timeline.last_record_lsn();
    assert!(timeline.get(OTHER_PAGE, last, &test_ctx()).await.is_err());
    timeline.get(CLOG_PAGE, last, &test_ctx()).await.unwrap();
}
