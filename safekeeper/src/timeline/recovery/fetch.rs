//! One attempt to fetch WAL from a donor.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use postgres_client::ParseConnectOptionsError;
use postgres_client::{ConnectOptions, CopyBoth};
use pq_proto::{PgTimestamp, StandbyReply, WalSenderMessage, XLogData};
use safekeeper_api::client::ClientError;
use safekeeper_api::models::PeerInfo;
use tokio::sync::mpsc;
use tracing::Instrument;
use utils::{Lsn, NodeId};
use wal_quorum::messages::{
    AcceptorMessage, AppendRequest, AppendRequestHeader, ProposerElected, ProposerMessage,
    ProposerUuid, VoteRequest,
};
use wal_quorum::term_history::HistoryConflict;
use wal_quorum::{Term, TermHistory, TermLsn};

use super::donor::Standing;
use crate::timeline::wal_acceptor::{Applier, WalAcceptor};
use crate::timeline::{Timeline, TimelineError, WalResidentTimeline};

/// A donor that says nothing for this long is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an attempt ended without need.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoveryError {
    /// The donor's status cannot be had.
    #[error(transparent)]
    Status(#[from] ClientError),
    /// The donor's address is of no use.
    #[error(transparent)]
    Address(#[from] ParseConnectOptionsError),
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] postgres_client::Error),
    /// The donor sent nonsense.
    #[error("unexpected message from the donor: {0}")]
    Protocol(#[from] pq_proto::ProtocolError),
    /// The donor went silent.
    #[error("nothing heard of the donor for {SILENCE_LIMIT:?}")]
    Silent,
    /// Somebody was elected, or is about to be.
    #[error("term changed from {expected} to {found}")]
    TermChanged {
        /// The donor's term, by the broker.
        expected: Term,
        /// What was met.
        found: Term,
    },
    /// The logs share nothing.
    #[error("the donor's log and ours have nothing in common")]
    NothingInCommon,
    /// One of the logs is damaged.
    #[error(transparent)]
    Conflict(#[from] HistoryConflict),
    /// Our own acceptor refused.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// Our own acceptor did not end well.
    #[error("the acceptor task failed: {0}")]
    Acceptor(#[from] tokio::task::JoinError),
}

/// Fetches until there is a reason to stop, which is returned.
pub(super) async fn recover(
    timeline: WalResidentTimeline,
    donor: &PeerInfo,
) -> Result<&'static str, RecoveryError> {
    let cancel = timeline.cancellation().clone();
    // Nothing here is lost half-done: WAL is applied by a task of its own.
    tokio::select! {
        () = cancel.cancelled() => Ok("the timeline is going away"),
        ended = imitate_leader(timeline, donor) => ended,
    }
}

async fn imitate_leader(
    timeline: WalResidentTimeline,
    donor: &PeerInfo,
) -> Result<&'static str, RecoveryError> {
    let elected = elect(&timeline, donor).await?;
    let start = elected.start_streaming_at;
    let stream = connect(&timeline, donor, start).await?;
    let watched = Arc::clone(&timeline);
    let first = ProposerMessage::Elected(elected);
    let WalAcceptor { messages, replies, half } = WalAcceptor::new(Applier::new(timeline, None));
    let acceptor = tokio::spawn(half.run(first).in_current_span());
    let mut session = Session {
        timeline: watched,
        donor: donor.sk_id,
        term: donor.term,
        stream,
        received: Lsn::INVALID,
        messages,
        replies,
    };
    let ended = session.run().await;
    // Closes the queues, which is how the acceptor ends.
    drop(session);
    // What the acceptor says is the better reason when both have one.
    acceptor.await??;
    ended
}

/// Has our own acceptor vote, and works out where the logs part.
async fn elect(timeline: &Timeline, donor: &PeerInfo) -> Result<ProposerElected, RecoveryError> {
    let expected = donor.term;
    let client = timeline.node().peer(&format!("http://{}", donor.http_connstr));
    let ttid = timeline.ttid();
    let status = client.timeline_status(ttid.tenant_id, ttid.timeline_id).await?;
    let found = status.acceptor_state.term;
    if found != expected {
        return Err(RecoveryError::TermChanged { expected, found });
    }
    let entries = status.acceptor_state.term_history.iter();
    let history = TermHistory(entries.map(|it| TermLsn { term: it.term, lsn: it.lsn }).collect());
    let request = VoteRequest { term: expected, proposer_uuid: ProposerUuid::default() };
    let answer = timeline.process(ProposerMessage::VoteRequest(request)).await?;
    let Some(AcceptorMessage::VoteResponse(vote)) = answer else {
        return Err(RecoveryError::NothingInCommon);
    };
    if vote.term != expected {
        return Err(RecoveryError::TermChanged { expected, found: vote.term });
    }
    let common = history.highest_common_point(&vote.term_history, vote.flush_lsn)?;
    let start = common.ok_or(RecoveryError::NothingInCommon)?.lsn;
    Ok(ProposerElected {
        term: expected,
        start_streaming_at: start,
        term_history: history,
        timeline_start_lsn: Lsn::INVALID,
    })
}

async fn connect(
    timeline: &Timeline,
    donor: &PeerInfo,
    start: Lsn,
) -> Result<CopyBoth, RecoveryError> {
    let ttid = timeline.ttid();
    let options = ConnectOptions {
        application_name: Some(format!("safekeeper_{}", timeline.config().id)),
        options: vec![
            "-c".to_owned(),
            format!("timeline_id={}", ttid.timeline_id),
            format!("tenant_id={}", ttid.tenant_id),
        ],
        password: timeline.node().token.as_ref().map(|token| token.0.clone()),
        replication: true,
        connect_timeout: CONNECT_TIMEOUT,
        tls: timeline.config().tls.peers(),
        ..ConnectOptions::parse(&donor.pg_connstr)?
    };
    let client = options.connect().await?;
    let command = format!("START_REPLICATION PHYSICAL {start} (term='{}')", donor.term);
    Ok(client.copy_both(&command).await?)
}

/// A connection to the donor and the task that applies what it sends.
struct Session {
    timeline: Arc<Timeline>,
    donor: NodeId,
    term: Term,
    stream: CopyBoth,
    /// End of the WAL received.
    received: Lsn,
    messages: mpsc::Sender<ProposerMessage>,
    replies: mpsc::Receiver<AcceptorMessage>,
}

impl Session {
    async fn run(&mut self) -> Result<&'static str, RecoveryError> {
        loop {
            let received = tokio::time::timeout(SILENCE_LIMIT, self.stream.recv()).await;
            let Some(payload) = received.map_err(|_elapsed| RecoveryError::Silent)?? else {
                return Ok("the donor ended the stream");
            };
            match WalSenderMessage::parse(payload)? {
                WalSenderMessage::XLogData(data) => {
                    self.received = data.end_lsn();
                    let message = append_request(self.term, data);
                    if !self.feed(message).await? {
                        return Ok("the acceptor takes no more");
                    }
                }
                WalSenderMessage::Keepalive(_) => {
                    if !self.standing().await.is_donor(self.donor, self.compute_streams()) {
                        return Ok("not a donor anymore");
                    }
                    self.drain_replies()?;
                }
            }
            self.reply().await?;
        }
    }

    /// Queues a message, taking answers meanwhile: the acceptor must not wait for us to take
    /// them while we wait for it. Whether it still takes messages.
    async fn feed(&mut self, message: ProposerMessage) -> Result<bool, RecoveryError> {
        let Self { messages, replies, .. } = self;
        loop {
            // Both are cancel safe.
            tokio::select! {
                permit = messages.reserve() => return Ok(match permit {
                    Ok(permit) => {
                        permit.send(message);
                        true
                    }
                    Err(_closed) => false,
                }),
                Some(reply) = replies.recv() => check_term(self.term, &reply)?,
            }
        }
    }

    fn drain_replies(&mut self) -> Result<(), RecoveryError> {
        while let Ok(reply) = self.replies.try_recv() {
            check_term(self.term, &reply)?;
        }
        Ok(())
    }

    async fn reply(&mut self) -> Result<(), RecoveryError> {
        let reply = StandbyReply {
            write_lsn: self.received,
            flush_lsn: self.received,
            apply_lsn: self.received,
            timestamp: PgTimestamp::from_system_time(SystemTime::now()),
            reply_requested: false,
        };
        let mut payload = BytesMut::new();
        reply.write(&mut payload);
        Ok(self.stream.send(&payload).await?)
    }

    fn compute_streams(&self) -> bool {
        self.timeline.receivers().has_streaming_compute()
    }

    async fn standing(&self) -> Standing {
        let timeout = self.timeline.config().heartbeat_timeout;
        Standing::of(&*self.timeline.read().await, timeout, self.timeline.config().id)
    }
}

fn append_request(term: Term, data: XLogData) -> ProposerMessage {
    let header = AppendRequestHeader {
        term,
        term_start_lsn: Lsn::INVALID,
        begin_lsn: data.start_lsn,
        end_lsn: data.end_lsn(),
        commit_lsn: Lsn::INVALID,
        truncate_lsn: Lsn::INVALID,
        proposer_uuid: ProposerUuid::default(),
    };
    ProposerMessage::AppendRequest(AppendRequest { header, wal: data.data })
}

fn check_term(expected: Term, reply: &AcceptorMessage) -> Result<(), RecoveryError> {
    match reply {
        AcceptorMessage::AppendResponse(response) if response.term != expected => {
            Err(RecoveryError::TermChanged { expected, found: response.term })
        }
        AcceptorMessage::AppendResponse(_)
        | AcceptorMessage::Greeting(_)
        | AcceptorMessage::VoteResponse(_) => Ok(()),
    }
}
