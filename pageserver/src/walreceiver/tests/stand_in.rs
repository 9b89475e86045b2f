//! Stand-ins: a timeline in memory, and a safekeeper that serves given WAL.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pageserver_api::Key;
use pageserver_api::models::AuxFilePolicy;
use pageserver_api::shard::ShardIdentity;
use postgres_backend::{AuthType, CopyStreamEnd, Handler, PostgresBackend, QueryError};
use postgres_ffi::PgMajor;
use pq_proto::BeMessage;
use pq_proto::backend::RowDescriptor;
use pq_proto::feedback::PageserverFeedback;
use pq_proto::replication::{StandbyMessage, XLogData};
use pq_proto::timestamp::PgTimestamp;
use storage_broker::proto::{
    MessageType, SafekeeperDiscoveryResponse, SafekeeperTimelineInfo, SubscribeByFilterRequest,
    TypeSubscription, TypedMessage,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use utils::{Lsn, TenantTimelineId};

use super::super::timeline::{PersistedPositions, ReceiverTimeline};
use crate::keymap::logical_size::CurrentLogicalSize;
use crate::keymap::memory::MemoryStore;
use crate::keymap::store::KeyedValue;
use crate::keymap::{BatchEffects, KeyReadError, KeyReader, KeyStore, KeyWriteError, RelSizeCache};

/// Bytes of WAL per message: records are cut anywhere.
const MESSAGE_SIZE: usize = 5000;

#[derive(Clone)]
pub(super) struct MemoryTimeline {
    pub store: Arc<MemoryStore>,
    ttid: TenantTimelineId,
    waiters: watch::Sender<bool>,
}

impl MemoryTimeline {
    pub fn new(ttid: TenantTimelineId) -> Self {
        let store = Arc::new(MemoryStore::new(PgMajor::V15));
        MemoryTimeline { store, ttid, waiters: watch::Sender::new(false) }
    }

    /// As if somebody waited for WAL from now on.
    pub fn start_waiting(&self) {
        self.waiters.send_replace(true);
    }
}

impl KeyReader for MemoryTimeline {
    async fn get(&self, key: Key, lsn: Lsn) -> Result<Bytes, KeyReadError> {
        self.store.get(key, lsn).await
    }

    async fn scan(
        &self,
        range: Range<Key>,
        lsn: Lsn,
    ) -> Result<BTreeMap<Key, Bytes>, KeyReadError> {
        self.store.scan(range, lsn).await
    }

    fn rel_size_cache(&self) -> &RelSizeCache {
        self.store.rel_size_cache()
    }

    fn aux_file_policy(&self) -> Option<AuxFilePolicy> {
        self.store.aux_file_policy()
    }
}

impl KeyStore for MemoryTimeline {
    fn last_record_lsn(&self) -> Lsn {
        self.store.last_record_lsn()
    }

    fn wanted_aux_file_policy(&self) -> Option<AuxFilePolicy> {
        self.store.wanted_aux_file_policy()
    }

    async fn write(
        &self,
        batch: Vec<KeyedValue>,
        finished: &[Lsn],
        effects: BatchEffects,
    ) -> Result<(), KeyWriteError> {
        self.store.write(batch, finished, effects).await
    }
}

impl ReceiverTimeline for MemoryTimeline {
    fn ttid(&self) -> TenantTimelineId {
        self.ttid
    }

    fn shard_identity(&self) -> ShardIdentity {
        ShardIdentity::unsharded()
    }

    fn pg_major(&self) -> PgMajor {
        PgMajor::V15
    }

    fn persisted_positions(&self) -> PersistedPositions {
        PersistedPositions { disk_consistent_lsn: Lsn(0x77), remote_consistent_lsn: Lsn(0x66) }
    }

    fn logical_size(&self) -> CurrentLogicalSize {
        CurrentLogicalSize::Exact(0)
    }

    fn lsn_waiters(&self) -> watch::Receiver<bool> {
        self.waiters.subscribe()
    }

    fn set_standby_horizon(&self, _lsn: Lsn) {}
}

/// A running stand-in for a safekeeper.
pub(super) struct StandIn {
    cancel: CancellationToken,
    feedback: mpsc::UnboundedReceiver<PageserverFeedback>,
}

impl StandIn {
    /// Serves `wal`, which starts at `start`, and tells the broker so every 100 ms.
    pub async fn start(
        id: u64,
        broker: &str,
        ttid: TenantTimelineId,
        start: Lsn,
        wal: Vec<u8>,
    ) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connstr = listener.local_addr().unwrap().to_string();
        let cancel = CancellationToken::new();
        let (sender, feedback) = mpsc::unbounded_channel();
        let info = SafekeeperTimelineInfo {
            safekeeper_id: id,
            tenant_timeline_id: Some(ttid.into()),
            commit_lsn: start.0 + wal.len() as u64,
            safekeeper_connstr: connstr,
            ..SafekeeperTimelineInfo::default()
        };
        let session = Session { start, wal: Bytes::from(wal), feedback: sender };
        tokio::spawn(cancel.clone().run_until_cancelled_owned(publish(broker.to_owned(), info)));
        tokio::spawn(serve(listener, session, cancel.clone()));
        StandIn { cancel, feedback }
    }

    /// Serves `wal`, and says so only when it is asked.
    pub async fn start_silent(
        id: u64,
        broker: &str,
        ttid: TenantTimelineId,
        start: Lsn,
        wal: Vec<u8>,
    ) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cancel = CancellationToken::new();
        let (sender, feedback) = mpsc::unbounded_channel();
        let answer = SafekeeperDiscoveryResponse {
            safekeeper_id: id,
            tenant_timeline_id: Some(ttid.into()),
            commit_lsn: start.0 + wal.len() as u64,
            safekeeper_connstr: listener.local_addr().unwrap().to_string(),
            ..SafekeeperDiscoveryResponse::default()
        };
        let session = Session { start, wal: Bytes::from(wal), feedback: sender };
        let requests = subscribe_to_requests(broker).await;
        let answering = answer_requests(broker.to_owned(), requests, answer);
        tokio::spawn(cancel.clone().run_until_cancelled_owned(answering));
        tokio::spawn(serve(listener, session, cancel.clone()));
        StandIn { cancel, feedback }
    }

    /// Closes every connection and falls silent.
    pub fn stop(self) {
        self.cancel.cancel();
    }

    /// The first feedback that says WAL up to `lsn` was received.
    pub async fn wait_for_feedback(&mut self, lsn: Lsn) -> PageserverFeedback {
        let wanted = async {
            loop {
                let feedback = self.feedback.recv().await.expect("the stand-in runs");
                if feedback.last_received_lsn >= lsn {
                    return feedback;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wanted).await.expect("feedback in time")
    }
}

async fn publish(broker: String, info: SafekeeperTimelineInfo) {
    let mut client =
        storage_broker::client::connect(&broker, Duration::from_secs(5), None).unwrap();
    loop {
        let message = TypedMessage {
            r#type: MessageType::SafekeeperTimelineInfo.into(),
            safekeeper_timeline_info: Some(info.clone()),
            ..TypedMessage::default()
        };
        client.publish_one(message).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn subscribe_to_requests(broker: &str) -> Streaming<TypedMessage> {
    let mut client = storage_broker::client::connect(broker, Duration::from_secs(5), None).unwrap();
    let request = SubscribeByFilterRequest {
        types: vec![TypeSubscription { r#type: MessageType::SafekeeperDiscoveryRequest.into() }],
        tenant_timeline_id: None,
    };
    client.subscribe_by_filter(request).await.unwrap().into_inner()
}

async fn answer_requests(
    broker: String,
    mut requests: Streaming<TypedMessage>,
    answer: SafekeeperDiscoveryResponse,
) {
    let mut client =
        storage_broker::client::connect(&broker, Duration::from_secs(5), None).unwrap();
    while requests.message().await.unwrap().is_some() {
        let message = TypedMessage {
            r#type: MessageType::SafekeeperDiscoveryResponse.into(),
            safekeeper_discovery_response: Some(answer.clone()),
            ..TypedMessage::default()
        };
        client.publish_one(message).await.unwrap();
    }
}

async fn serve(listener: TcpListener, session: Session, cancel: CancellationToken) {
    while let Some(Ok((socket, _))) = cancel.run_until_cancelled(listener.accept()).await {
        let (mut session, cancel) = (session.clone(), cancel.clone());
        tokio::spawn(async move {
            let backend = PostgresBackend::new(socket, AuthType::Trust).unwrap();
            // The peer may go away at any time.
            let _ = backend.run(&mut session, &cancel).await;
        });
    }
}

#[derive(Clone)]
struct Session {
    start: Lsn,
    wal: Bytes,
    feedback: mpsc::UnboundedSender<PageserverFeedback>,
}

impl Session {
    fn end(&self) -> Lsn {
        self.start + self.wal.len() as u64
    }

    async fn stream(&self, pgb: &mut PostgresBackend, from: Lsn) -> Result<(), CopyStreamEnd> {
        let mut position = from;
        let offset = (from - self.start) as usize;
        for chunk in self.wal[offset..].chunks(MESSAGE_SIZE) {
            let data = XLogData {
                start_lsn: position,
                wal_end: self.end(),
                timestamp: PgTimestamp(0),
                data: self.wal.slice_ref(chunk),
            };
            let mut payload = BytesMut::new();
            data.write(&mut payload);
            pgb.write_message(&BeMessage::CopyData(&payload))?;
            pgb.flush().await?;
            position = data.end_lsn();
        }
        loop {
            let message = StandbyMessage::parse(pgb.read_copy_message().await?);
            if let Ok(StandbyMessage::PageserverFeedback(feedback)) = message {
                // Nobody may be interested.
                let _ = self.feedback.send(feedback);
            }
        }
    }
}

impl Handler for Session {
    async fn process_query(
        &mut self,
        pgb: &mut PostgresBackend,
        query: &str,
    ) -> Result<(), QueryError> {
        if query.starts_with("IDENTIFY_SYSTEM") {
            let end = self.end().to_string();
            pgb.write_message(&BeMessage::RowDescription(&[
                RowDescriptor::text("systemid"),
                RowDescriptor::int4("timeline"),
                RowDescriptor::text("xlogpos"),
                RowDescriptor::text("dbname"),
            ]))?;
            let row = [Some(&b"7"[..]), Some(&b"1"[..]), Some(end.as_bytes()), None];
            pgb.write_message(&BeMessage::DataRow(&row))?;
            pgb.write_message(&BeMessage::CommandComplete("IDENTIFY_SYSTEM"))?;
            return Ok(());
        }
        let from = query.strip_prefix("START_REPLICATION PHYSICAL ").expect("a known command");
        pgb.write_message(&BeMessage::CopyBothResponse)?;
        pgb.flush().await?;
        let from: Lsn = from.trim().parse().expect("an LSN");
        if let Err(end) = self.stream(pgb, from).await {
            pgb.handle_copy_stream_end(end).await;
        }
        Ok(())
    }
}
