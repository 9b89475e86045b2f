//! The proposer's end of `START_WAL_PUSH`, one message at a time.

use std::time::Duration;

use bytes::Bytes;
use postgres_client::CopyBoth;
use utils::{Lsn, TenantTimelineId};
use wal_quorum::messages::{
    AcceptorGreeting, AcceptorMessage, AppendRequest, AppendRequestHeader, AppendResponse,
    MAX_APPEND_BYTES, ProposerElected, ProposerGreeting, ProposerMessage, ProposerUuid,
    VoteRequest, VoteResponse,
};
use wal_quorum::{Term, TermHistory};

use super::TestSafekeeper;

pub const PG_VERSION: u32 = 150_018;
pub const SEGMENT_SIZE: u64 = 16 << 20;

/// One pushing connection.
pub struct MiniProposer {
    stream: CopyBoth,
    term: Term,
    start: Lsn,
}

impl MiniProposer {
    /// Opens a session; the safekeeper learns the timeline.
    pub async fn connect(
        safekeeper: &TestSafekeeper,
        ttid: TenantTimelineId,
        system_id: u64,
    ) -> (Self, AcceptorGreeting) {
        let stream = open(safekeeper, ttid).await;
        let mut proposer = Self { stream, term: 0, start: Lsn(0) };
        let greeting = greeting(ttid, system_id);
        match proposer.exchange(&ProposerMessage::Greeting(greeting)).await {
            AcceptorMessage::Greeting(greeting) => (proposer, greeting),
            other => panic!("expected a greeting, got {other:?}"),
        }
    }

    pub async fn vote(&mut self, term: Term) -> VoteResponse {
        let request = VoteRequest { term, proposer_uuid: ProposerUuid::default() };
        match self.exchange(&ProposerMessage::VoteRequest(request)).await {
            AcceptorMessage::VoteResponse(response) => response,
            other => panic!("expected a vote, got {other:?}"),
        }
    }

    /// Announces the election; there is no answer.
    pub async fn announce(&mut self, history: TermHistory, start: Lsn, timeline_start: Lsn) {
        self.term = history.last_term();
        self.start = history.0.last().unwrap().lsn;
        let elected = ProposerElected {
            term: self.term,
            start_streaming_at: start,
            term_history: history,
            timeline_start_lsn: timeline_start,
        };
        self.send(&ProposerMessage::Elected(elected)).await;
    }

    /// The whole election of the first leader of a timeline.
    pub async fn lead_from(
        safekeeper: &TestSafekeeper,
        ttid: TenantTimelineId,
        system_id: u64,
        start: Lsn,
    ) -> Self {
        let (mut proposer, greeting) = Self::connect(safekeeper, ttid, system_id).await;
        let term = greeting.term + 1;
        let vote = proposer.vote(term).await;
        assert!(vote.vote_given);
        proposer.announce(TermHistory::from([(term, start)]), start, start).await;
        proposer
    }

    /// Uses a term that was never announced.
    pub fn lie_about_term(&mut self, term: Term) {
        self.term = term;
    }

    fn header(&self, begin: Lsn, end: Lsn, commit: Lsn, truncate: Lsn) -> AppendRequestHeader {
        AppendRequestHeader {
            term: self.term,
            term_start_lsn: self.start,
            begin_lsn: begin,
            end_lsn: end,
            commit_lsn: commit,
            truncate_lsn: truncate,
            proposer_uuid: ProposerUuid([7; 16]),
        }
    }

    /// Sends one append without waiting for the answer.
    pub async fn send_append(&mut self, begin: Lsn, wal: &[u8], commit: Lsn, truncate: Lsn) {
        let header = self.header(begin, begin + wal.len() as u64, commit, truncate);
        let wal = Bytes::copy_from_slice(wal);
        self.send(&ProposerMessage::AppendRequest(AppendRequest { header, wal })).await;
    }

    pub async fn append(&mut self, begin: Lsn, wal: &[u8], commit: Lsn) -> AppendResponse {
        self.send_append(begin, wal, commit, self.start).await;
        self.append_response().await
    }

    /// Streams all of `wal` and commits it; returns when it is durable and committed.
    pub async fn push(&mut self, start: Lsn, wal: &[u8]) -> Lsn {
        let mut position = start;
        for chunk in wal.chunks(MAX_APPEND_BYTES as usize) {
            self.send_append(position, chunk, Lsn(0), self.start).await;
            position = position + chunk.len() as u64;
        }
        // Without WAL nothing was sent that would be answered: it is durable already.
        let mut flushed = start;
        while flushed < position {
            let response = self.append_response().await;
            assert_eq!(response.term, self.term);
            flushed = response.flush_lsn;
        }
        self.append(position, &[], position).await;
        position
    }

    /// Sends `wal`, which may end inside a record, and commits what is whole. Returns its end.
    pub async fn push_partial(&mut self, start: Lsn, wal: &[u8]) -> Lsn {
        let mut position = start;
        for chunk in wal.chunks(MAX_APPEND_BYTES as usize) {
            let flushed = self.append(position, chunk, Lsn(0)).await.flush_lsn;
            position = position + chunk.len() as u64;
            self.append(position, &[], flushed).await;
        }
        position
    }

    pub async fn append_response(&mut self) -> AppendResponse {
        match self.receive().await {
            AcceptorMessage::AppendResponse(response) => response,
            other => panic!("expected an append response, got {other:?}"),
        }
    }

    /// Whether an append is answered rather than refused with an error.
    pub async fn answers_append(&mut self) -> bool {
        match self.next().await {
            Ok(Some(payload)) => {
                matches!(AcceptorMessage::decode(payload), Ok(AcceptorMessage::AppendResponse(_)))
            }
            Ok(None) | Err(_) => false,
        }
    }

    pub async fn send(&mut self, message: &ProposerMessage) {
        self.stream.send(&message.encode()).await.unwrap();
    }

    async fn exchange(&mut self, message: &ProposerMessage) -> AcceptorMessage {
        self.send(message).await;
        self.receive().await
    }

    async fn receive(&mut self) -> AcceptorMessage {
        let payload = self.next().await.unwrap().expect("the session goes on");
        AcceptorMessage::decode(payload).unwrap()
    }

    /// The next message. A test that waits for one that never comes should say so.
    async fn next(&mut self) -> Result<Option<Bytes>, postgres_client::Error> {
        let received = tokio::time::timeout(Duration::from_secs(60), self.stream.recv()).await;
        received.expect("the safekeeper answers within a minute")
    }

    /// What the safekeeper says when it ends the session.
    pub async fn error(&mut self) -> String {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without an error"),
                Err(error) => return error.to_string(),
            }
        }
    }
}

pub async fn open(safekeeper: &TestSafekeeper, ttid: TenantTimelineId) -> CopyBoth {
    let client = safekeeper.connect_options(ttid, "walproposer").connect().await.unwrap();
    client.copy_both("START_WAL_PUSH").await.unwrap()
}

pub fn greeting(ttid: TenantTimelineId, system_id: u64) -> ProposerGreeting {
    ProposerGreeting {
        pg_version: PG_VERSION,
        proposer_uuid: ProposerUuid([7; 16]),
        system_id,
        timeline_id: ttid.timeline_id,
        tenant_id: ttid.tenant_id,
        pg_timeline: 1,
        wal_seg_size: SEGMENT_SIZE as u32,
    }
}
