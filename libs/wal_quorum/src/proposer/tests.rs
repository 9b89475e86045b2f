//! The rules a proposer keeps, one by one, with the safekeepers played by hand.

mod streaming;

use utils::NodeId;

use super::*;
use crate::messages::{
    AcceptorGreeting, AppendRequestHeader, AppendResponse, MAX_APPEND_BYTES, ProposerElected,
    ProposerUuid, VoteResponse,
};
use crate::term_history::TermHistory;

const SAMPLE_ID: &str = "9e4c8f36063c6c6e93bc20d65a820f3d";
const SEGMENT: u32 = 16 << 20;
/// Where the quorum's WAL ends in most tests.
const E: Lsn = Lsn(1000);

fn config(mode: Mode, safekeeper_count: usize) -> ProposerConfig {
    ProposerConfig {
        mode,
        tenant_id: SAMPLE_ID.parse().unwrap(),
        timeline_id: SAMPLE_ID.parse().unwrap(),
        system_id: 0,
        pg_version: 160003,
        wal_seg_size: SEGMENT,
        proposer_uuid: ProposerUuid::default(),
        safekeeper_count,
        reconnect_interval_ms: 1000,
        connect_timeout_ms: 10_000,
        max_append_bytes: MAX_APPEND_BYTES,
    }
}

fn streaming(redo_start_lsn: Lsn) -> Mode {
    Mode::Stream { redo_start_lsn, last_elected_term: INVALID_TERM }
}

/// A proposer and the hand that plays everything around it.
struct Table {
    proposer: Proposer,
    now_ms: u64,
}

impl Table {
    fn new(mode: Mode, safekeeper_count: usize) -> Self {
        let proposer = Proposer::new(config(mode, safekeeper_count)).unwrap();
        let mut table = Self { proposer, now_ms: 0 };
        let connects = table.event(Event::Tick);
        assert_eq!(connects.len(), safekeeper_count);
        table
    }

    /// A leader over an agreed log of term 1 from 500 to [`E`], all safekeepers active.
    fn elected(safekeeper_count: usize) -> Self {
        let mut table = Self::new(streaming(E), safekeeper_count);
        (0..safekeeper_count).for_each(|index| drop(table.greet(index, 1)));
        (0..safekeeper_count).for_each(|index| drop(table.vote(index, agreed_vote())));
        (0..safekeeper_count).for_each(|index| drop(table.sent(index)));
        table
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.proposer.handle(self.now_ms, event)
    }

    fn connection(&self, index: usize) -> ConnectionId {
        self.proposer.connection(index)
    }

    fn receive(&mut self, index: usize, message: AcceptorMessage) -> Vec<Action> {
        let connection = self.connection(index);
        self.event(Event::Received { connection, payload: message.encode() })
    }

    fn greet(&mut self, index: usize, term: Term) -> Vec<Action> {
        let greeting = self.event(Event::Connected(self.connection(index)));
        assert!(matches!(greeting[..], [Action::Send { .. }]));
        let node_id = NodeId(index as u64 + 1);
        self.receive(index, AcceptorMessage::Greeting(AcceptorGreeting { term, node_id }))
    }

    fn vote(&mut self, index: usize, response: VoteResponse) -> Vec<Action> {
        self.receive(index, AcceptorMessage::VoteResponse(response))
    }

    fn sent(&mut self, index: usize) -> Vec<Action> {
        self.event(Event::WalSent(self.connection(index)))
    }

    fn flushed(&mut self, index: usize, flush_lsn: Lsn) -> Vec<Action> {
        let response = AppendResponse { term: 2, flush_lsn, ..AppendResponse::default() };
        self.receive(index, AcceptorMessage::AppendResponse(response))
    }

    fn disconnect(&mut self, index: usize) -> Vec<Action> {
        self.event(Event::Disconnected(self.connection(index)))
    }

    fn reconnect_all(&mut self) {
        self.now_ms += 1000;
        self.event(Event::Tick);
    }

    fn commit_lsn(&self) -> Lsn {
        self.proposer.status().commit_lsn
    }
}

fn agreed_vote() -> VoteResponse {
    VoteResponse {
        term: 2,
        vote_given: true,
        flush_lsn: E,
        truncate_lsn: Lsn(500),
        term_history: TermHistory::from([(1, Lsn(500))]),
        timeline_start_lsn: Lsn(500),
    }
}

fn sent_message(action: &Action) -> ProposerMessage {
    match action {
        Action::Send { payload, .. } => ProposerMessage::decode(payload.clone()).unwrap(),
        other => panic!("not a message: {other:?}"),
    }
}

fn announcement(actions: &[Action]) -> ProposerElected {
    let sends = actions.iter().filter(|action| matches!(action, Action::Send { .. }));
    match sends.map(sent_message).next() {
        Some(ProposerMessage::Elected(elected)) => elected,
        other => panic!("no announcement, but {other:?}"),
    }
}

fn wal_sends(actions: &[Action]) -> Vec<(usize, AppendRequestHeader, WalSource)> {
    let sends = actions.iter().filter_map(|action| match action {
        Action::SendWal { connection, header, source } => {
            Some((connection.safekeeper, header.clone(), *source))
        }
        _ => None,
    });
    sends.collect()
}

#[test]
fn a_sync_over_one_agreeing_safekeeper_ends_without_sending_anything_else() {
    let mut table = Table::new(Mode::Sync, 1);
    let greeting = table.event(Event::Connected(table.connection(0)));
    let id = hex::decode(SAMPLE_ID).unwrap();
    let mut expected = vec![0x67, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0x03, 0x71, 0x02, 0];
    expected.extend([0; 24]);
    expected.extend([&id[..], &id[..]].concat());
    expected.extend([1, 0, 0, 0, 0, 0, 0, 1]);
    let connection = table.connection(0);
    assert_eq!(greeting, [Action::Send { connection, payload: expected.into() }]);

    let greeted = AcceptorGreeting { term: 2, node_id: NodeId(1) };
    let request = table.receive(0, AcceptorMessage::Greeting(greeted));
    let mut expected = [0; 32];
    (expected[0], expected[8]) = (0x76, 3);
    let payload = Bytes::copy_from_slice(&expected);
    assert_eq!(request, [Action::Send { connection, payload }]);

    let position = Lsn(0x539);
    let last = table.vote(
        0,
        VoteResponse {
            term: 3,
            vote_given: true,
            flush_lsn: position,
            truncate_lsn: position,
            term_history: TermHistory::from([(2, position)]),
            timeline_start_lsn: position,
        },
    );
    assert!(matches!(last[..], [Action::Elected(_), Action::Synced { lsn: Lsn(1337) }]));
    assert!(table.event(Event::Tick).is_empty());
}

#[test]
fn syncing_an_empty_timeline_gives_0() {
    let mut table = Table::new(Mode::Sync, 3);
    (0..3).for_each(|index| drop(table.greet(index, 0)));
    let empty = VoteResponse {
        term: 1,
        vote_given: true,
        flush_lsn: Lsn(0),
        truncate_lsn: Lsn(0),
        term_history: TermHistory::default(),
        timeline_start_lsn: Lsn(0),
    };
    table.vote(0, empty.clone());
    assert_eq!(table.vote(1, empty).last(), Some(&Action::Synced { lsn: Lsn(0) }));
}

#[test]
fn the_term_is_one_above_those_of_a_quorum() {
    let mut table = Table::new(Mode::Sync, 3);
    assert!(table.greet(0, 7).is_empty());
    let requests = table.greet(1, 4);
    assert_eq!(requests.len(), 2);
    let ProposerMessage::VoteRequest(request) = sent_message(&requests[0]) else { panic!() };
    assert_eq!(request.term, 8);
}

#[test]
fn a_safekeeper_that_reconnects_counts_once() {
    let mut table = Table::new(Mode::Sync, 3);
    table.greet(0, 7);
    table.disconnect(0);
    table.reconnect_all();
    assert!(table.greet(0, 7).is_empty());
    assert_eq!(table.proposer.status().term, INVALID_TERM);
}

#[test]
fn votes_of_safekeepers_that_left_still_count() {
    let mut table = Table::new(streaming(E), 3);
    (0..3).for_each(|index| drop(table.greet(index, 1)));
    table.vote(0, agreed_vote());
    table.disconnect(0);
    let actions = table.vote(1, agreed_vote());
    assert!(matches!(actions[0], Action::Elected(_)));
}

#[test]
fn a_late_greeting_with_a_higher_term_is_fatal() {
    let mut table = Table::new(Mode::Sync, 3);
    table.greet(0, 1);
    table.greet(1, 1);
    let error = FatalError::HigherTerm { safekeeper: 2, term: 9, ours: 2 };
    assert!(!error.discards_data_directory());
    assert_eq!(table.greet(2, 9), [Action::Fatal(error)]);
}

#[test]
fn a_refused_vote_is_fatal_before_the_election_only() {
    let refusal = VoteResponse { vote_given: false, ..agreed_vote() };
    let mut table = Table::new(streaming(E), 3);
    (0..3).for_each(|index| drop(table.greet(index, 1)));
    let fatal = table.vote(0, refusal.clone());
    assert_eq!(fatal, [Action::Fatal(FatalError::VoteRefused { safekeeper: 0, term: 2 })]);

    let mut table = Table::new(streaming(E), 3);
    (0..3).for_each(|index| drop(table.greet(index, 1)));
    table.vote(0, agreed_vote());
    table.vote(1, agreed_vote());
    assert_eq!(announcement(&table.vote(2, refusal)).start_streaming_at, E);
}

#[test]
fn a_rival_that_already_leads_our_term_is_fatal() {
    let mut table = Table::new(streaming(E), 3);
    (0..3).for_each(|index| drop(table.greet(index, 1)));
    let led_by_rival = VoteResponse {
        vote_given: false,
        term_history: TermHistory::from([(1, Lsn(500)), (2, E)]),
        ..agreed_vote()
    };
    let fatal = table.vote(0, led_by_rival);
    assert_eq!(fatal, [Action::Fatal(FatalError::VoteRefused { safekeeper: 0, term: 2 })]);
}

#[test]
fn the_donor_has_the_highest_last_term_not_the_longest_log() {
    let mut table = Table::new(streaming(Lsn(800)), 3);
    (0..3).for_each(|index| drop(table.greet(index, 4)));
    let long = VoteResponse { term: 5, ..agreed_vote() };
    let newer = VoteResponse {
        flush_lsn: Lsn(800),
        term_history: TermHistory::from([(1, Lsn(500)), (3, Lsn(700))]),
        ..long.clone()
    };
    table.vote(0, long);
    let actions = table.vote(1, newer);
    let Action::Elected(election) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!((election.donor, election.epoch_start_lsn), (1, Lsn(800)));
    assert_eq!((election.donor_last_log_term, election.donor_last_log_lsn), (3, Lsn(700)));
    let elected = announcement(&actions);
    assert_eq!(elected.start_streaming_at, Lsn(700));
    let expected = TermHistory::from([(1, Lsn(500)), (3, Lsn(700)), (5, Lsn(800))]);
    assert_eq!(elected.term_history, expected);
}

#[test]
fn the_first_election_of_a_database_begins_at_its_basebackup() {
    let page_start = Lsn(8192);
    let mut table = Table::new(streaming(page_start), 1);
    table.greet(0, 0);
    let empty = VoteResponse {
        term: 1,
        vote_given: true,
        flush_lsn: Lsn(0),
        truncate_lsn: Lsn(0),
        term_history: TermHistory::default(),
        timeline_start_lsn: Lsn(0),
    };
    let elected = announcement(&table.vote(0, empty));
    let first = Lsn(8192 + 24);
    assert_eq!(elected.term_history, TermHistory::from([(1, first)]));
    assert_eq!((elected.start_streaming_at, elected.timeline_start_lsn), (first, first));
}

#[test]
fn a_database_that_does_not_continue_the_quorums_wal_is_refused() {
    let mut table = Table::new(streaming(Lsn(900)), 1);
    table.greet(0, 1);
    let actions = table.vote(0, agreed_vote());
    let error = FatalError::BasebackupMismatch { epoch_start_lsn: E, redo_start_lsn: Lsn(904) };
    assert!(error.discards_data_directory());
    assert_eq!(actions, [Action::Fatal(error)]);
}

#[test]
fn the_same_running_database_may_be_taken_up_again() {
    let mode = Mode::Stream { redo_start_lsn: Lsn(900), last_elected_term: 1 };
    let mut table = Table::new(mode, 1);
    table.greet(0, 1);
    assert!(matches!(table.vote(0, agreed_vote())[0], Action::Elected(_)));
}

#[test]
fn a_page_header_between_the_end_of_wal_and_the_basebackup_is_no_mismatch() {
    let mut table = Table::new(streaming(Lsn(8192 + 24)), 1);
    table.greet(0, 1);
    let vote = VoteResponse { flush_lsn: Lsn(8192), ..agreed_vote() };
    assert_eq!(announcement(&table.vote(0, vote)).start_streaming_at, Lsn(8192));
}

#[test]
fn an_answer_of_a_higher_term_ends_the_database() {
    let mut table = Table::elected(3);
    let response = AppendResponse::term_only(9);
    let error = FatalError::Superseded { safekeeper: 1, term: 9, ours: 2 };
    assert!(error.discards_data_directory());
    let actions = table.receive(1, AcceptorMessage::AppendResponse(response));
    assert_eq!(actions, [Action::Fatal(error)]);
}

#[test]
fn events_of_connections_given_up_are_ignored() {
    let mut table = Table::elected(1);
    let old = table.connection(0);
    table.disconnect(0);
    table.reconnect_all();
    assert!(table.event(Event::Disconnected(old)).is_empty());
    assert!(table.event(Event::WalSent(old)).is_empty());
    assert_eq!(table.proposer.status().safekeepers[0].phase, "connecting");
}

#[test]
fn a_silent_connection_is_closed_and_tried_again() {
    let mut table = Table::elected(1);
    let connection = table.connection(0);
    table.now_ms = 10_001;
    let actions = table.event(Event::Tick);
    let reason = CloseReason::Silent { silent_ms: 10_001 };
    assert_eq!(actions[0], Action::Disconnect { connection, reason });
    assert!(matches!(actions[1], Action::Connect(_)));
}

#[test]
fn a_message_out_of_turn_closes_the_connection() {
    let mut table = Table::new(Mode::Sync, 1);
    table.event(Event::Connected(table.connection(0)));
    let actions = table.vote(0, agreed_vote());
    let expected = CloseReason::UnexpectedMessage { phase: "handshake" };
    assert!(matches!(&actions[0], Action::Disconnect { reason, .. } if *reason == expected));
}

#[test]
fn a_position_that_falls_within_a_connection_closes_it() {
    let mut table = Table::elected(3);
    table.event(Event::WalAvailable { end_lsn: Lsn(1100) });
    table.flushed(0, Lsn(1100));
    let actions = table.flushed(0, Lsn(1000));
    assert!(matches!(
        &actions[0],
        Action::Disconnect { reason: CloseReason::FlushWentBack { .. }, .. }
    ));
}

#[test]
fn a_safekeeper_that_contradicts_the_history_is_left_alone() {
    let mut table = Table::new(streaming(E), 3);
    (0..3).for_each(|index| drop(table.greet(index, 1)));
    table.vote(0, agreed_vote());
    table.vote(1, agreed_vote());
    let conflicting =
        VoteResponse { term_history: TermHistory::from([(1, Lsn(501))]), ..agreed_vote() };
    let actions = table.vote(2, conflicting);
    assert!(matches!(
        &actions[0],
        Action::Disconnect { reason: CloseReason::HistoryConflict(_), .. }
    ));
}

#[test]
fn a_sync_waits_for_every_safekeeper_that_can_be_reached() {
    let mut table = Table::new(Mode::Sync, 3);
    (0..3).for_each(|index| drop(table.greet(index, 1)));
    (0..3).for_each(|index| drop(table.vote(index, agreed_vote())));
    let committed = |table: &mut Table, index| {
        let response =
            AppendResponse { term: 2, flush_lsn: E, commit_lsn: E, ..Default::default() };
        table.receive(index, AcceptorMessage::AppendResponse(response))
    };
    committed(&mut table, 0);
    let actions = committed(&mut table, 1);
    assert!(!actions.contains(&Action::Synced { lsn: E }));
    assert_eq!(table.disconnect(2).last(), Some(&Action::Synced { lsn: E }));
}

#[test]
fn impossible_configurations_are_refused() {
    let refused = |config: ProposerConfig| Proposer::new(config).map(drop).unwrap_err();
    assert_eq!(refused(config(Mode::Sync, 0)), ConfigError::SafekeeperCount(0));
    assert_eq!(refused(config(Mode::Sync, 32)), ConfigError::SafekeeperCount(32));
    let zero = ProposerConfig { reconnect_interval_ms: 0, ..config(Mode::Sync, 3) };
    assert_eq!(refused(zero), ConfigError::ZeroInterval);
}
