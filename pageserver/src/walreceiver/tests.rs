//! Receivers of a timeline in memory, with a real broker and stand-ins for safekeepers.

mod stand_in;

use std::sync::Arc;
use std::time::Duration;

use postgres_ffi::xlog::record::RawRecord;
use postgres_ffi::xlog::{WalBuilder, WalIdentity};
use postgres_ffi::{CheckPoint, PgMajor};
use storage_broker::server::{ChannelSizes, ServerOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utils::{Lsn, TenantId, TenantTimelineId, TimelineId};

use self::stand_in::{MemoryTimeline, StandIn};
use super::*;
use crate::keymap::{DatadirModification, KeyStore, Keymap};

const START: Lsn = Lsn(0x100_0100);
const IDENTITY: WalIdentity = WalIdentity { major: PgMajor::V15, system_id: 7 };

fn config() -> WalReceiverConfig {
    WalReceiverConfig {
        connect_timeout: Duration::from_secs(5),
        lagging_wal_timeout: Duration::from_secs(2),
        max_lsn_wal_lag_bytes: NonZeroU64::new(1 << 30).unwrap(),
        ingest_batch_size: 3,
        availability_zone: None,
        auth_token: None,
        tls: Default::default(),
    }
}

/// WAL that stores `count` files, some over page ends.
fn wal(count: usize) -> Vec<u8> {
    let mut builder = WalBuilder::new(IDENTITY, START, Lsn(0));
    for number in 0..count {
        let content = vec![b'x'; number * 700 + 1];
        builder.append(&RawRecord::logical_message(&format!("neon-file:file{number}"), &content));
    }
    builder.into_bytes()
}

async fn start_broker() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let options = ServerOptions {
        channel_sizes: ChannelSizes { timeline: 32, all_keys: 1024 },
        http2_keepalive_interval: Duration::from_secs(5),
    };
    tokio::spawn(storage_broker::server::run(listener, options));
    endpoint
}

/// A receiver with everything around it.
struct Setup {
    ttid: TenantTimelineId,
    broker: String,
    timeline: MemoryTimeline,
    status: WalReceiverStatus,
    cancel: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

impl Setup {
    async fn start() -> Setup {
        let ttid = TenantTimelineId::new(TenantId::generate(), TimelineId::generate());
        let timeline = MemoryTimeline::new(ttid);
        let store = Arc::clone(&timeline.store);
        let mut modification = DatadirModification::begin(store.as_ref(), PgMajor::V15, START);
        modification.init_empty();
        modification.put_checkpoint(&CheckPoint::default());
        modification.commit().await.unwrap();
        let broker = start_broker().await;
        let client =
            storage_broker::client::connect(&broker, Duration::from_secs(5), None).unwrap();
        let status = WalReceiverStatus::default();
        let cancel = CancellationToken::new();
        let receiver = WalReceiver::new(timeline.clone(), client, config(), status.clone());
        let ended = tokio::spawn(receiver.run(cancel.clone()));
        Setup { ttid, broker, timeline, status, cancel, ended }
    }

    async fn wait_until_ingested(&self, lsn: Lsn) {
        let reached = async {
            while self.timeline.store.last_record_lsn() < lsn {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap_or_else(|_| {
            let last = self.timeline.store.last_record_lsn();
            panic!("still at {last}, status {}", self.status.text())
        });
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.ended.await.unwrap();
        assert_eq!(self.status.text(), "Not active");
    }
}

#[tokio::test]
async fn wal_is_received_and_progress_is_reported() {
    let setup = Setup::start().await;
    let bytes = wal(20);
    let end = START + bytes.len() as u64;
    let mut safekeeper = StandIn::start(1, &setup.broker, setup.ttid, START, bytes).await;
    setup.wait_until_ingested(end).await;
    let contents = Keymap::at(setup.timeline.store.as_ref(), end);
    let files = contents.aux_files().await.unwrap();
    assert_eq!(files.len(), 20);
    assert_eq!(files["file19"].len(), 19 * 700 + 1);
    let feedback = safekeeper.wait_for_feedback(end).await;
    assert_eq!(feedback.shard_number, 0);
    assert_eq!(feedback.disk_consistent_lsn, Lsn(0x77));
    assert!(setup.status.text().contains("connected to 1"), "{}", setup.status.text());
    setup.stop().await;
}

#[tokio::test]
async fn another_safekeeper_takes_over_in_the_middle_of_a_record() {
    let setup = Setup::start().await;
    let bytes = wal(20);
    let end = START + bytes.len() as u64;
    let half = bytes.len() / 2;
    let first = StandIn::start(1, &setup.broker, setup.ttid, START, bytes[..half].to_vec()).await;
    setup.wait_until_ingested(START + (half as u64 - 16_384)).await;
    first.stop();
    let _second = StandIn::start(2, &setup.broker, setup.ttid, START, bytes).await;
    setup.wait_until_ingested(end).await;
    let contents = Keymap::at(setup.timeline.store.as_ref(), end);
    assert_eq!(contents.aux_files().await.unwrap().len(), 20);
    setup.stop().await;
}

#[tokio::test]
async fn safekeepers_that_do_not_publish_are_asked_when_somebody_waits() {
    let setup = Setup::start().await;
    let bytes = wal(20);
    let end = START + bytes.len() as u64;
    let _safekeeper = StandIn::start_silent(1, &setup.broker, setup.ttid, START, bytes).await;
    setup.timeline.start_waiting();
    setup.wait_until_ingested(end).await;
    setup.stop().await;
}

#[tokio::test]
async fn a_silent_safekeeper_that_lacks_wal_is_not_the_last_one_asked() {
    let setup = Setup::start().await;
    let bytes = wal(20);
    let end = START + bytes.len() as u64;
    let half = bytes.len() / 2;
    let (broker, ttid) = (setup.broker.as_str(), setup.ttid);
    let lagging = bytes[..half].to_vec();
    let mut first = StandIn::start_silent(1, broker, ttid, START, lagging).await;
    setup.timeline.start_waiting();
    first.wait_for_feedback(START + half as u64).await;
    // Nobody speaks of this one, and the connection to the first stays as it is.
    let _second = StandIn::start_silent(2, broker, ttid, START, bytes).await;
    setup.wait_until_ingested(end).await;
    setup.stop().await;
}

#[tokio::test]
async fn a_damaged_stream_changes_nothing_beyond_its_last_good_record() {
    let setup = Setup::start().await;
    let good = wal(3);
    let mut bytes = good.clone();
    bytes.extend([0xFF; 64]);
    let _safekeeper = StandIn::start(1, &setup.broker, setup.ttid, START, bytes).await;
    let good_end = START + good.len() as u64;
    setup.wait_until_ingested(good_end).await;
    let store = Arc::clone(&setup.timeline.store);
    setup.stop().await;
    assert_eq!(store.last_record_lsn(), good_end);
}
