//! Sending WAL, counting what is flushed, feedback.

use pq_proto::PageserverFeedback;

use super::*;
use crate::messages::HotStandbyFeedback;

#[test]
fn wal_is_committed_once_a_quorum_has_flushed_it() {
    let mut table = Table::elected(3);
    table.event(Event::WalAvailable { end_lsn: Lsn(1100) });
    assert!(table.flushed(0, Lsn(1100)).is_empty());
    let actions = table.flushed(1, Lsn(1050));
    assert!(actions.contains(&Action::Committed { lsn: Lsn(1050) }));
    table.flushed(2, Lsn(1100));
    assert_eq!(table.commit_lsn(), Lsn(1100));
}

#[test]
fn wal_of_earlier_terms_is_not_committed_by_counting() {
    let mut table = Table::new(streaming(E), 3);
    (0..3).for_each(|index| drop(table.greet(index, 1)));
    table.vote(0, agreed_vote());
    table.vote(1, VoteResponse { flush_lsn: Lsn(600), ..agreed_vote() });
    table.flushed(0, E);
    assert!(!table.flushed(1, Lsn(800)).iter().any(|a| matches!(a, Action::Committed { .. })));
    let actions = table.flushed(1, E);
    assert!(actions.contains(&Action::Committed { lsn: E }));
}

#[test]
fn nothing_is_truncated_before_every_safekeeper_has_it() {
    let mut table = Table::elected(3);
    table.event(Event::WalAvailable { end_lsn: Lsn(1100) });
    table.flushed(0, Lsn(1100));
    table.flushed(1, Lsn(1100));
    assert_eq!(table.proposer.status().truncate_lsn, Lsn(500));
    table.flushed(2, Lsn(1040));
    assert_eq!(table.proposer.status().truncate_lsn, Lsn(1040));
}

#[test]
fn one_message_of_bounded_size_is_in_flight_per_safekeeper() {
    let mut table = Table::elected(1);
    let end_lsn = E + 2 * MAX_APPEND_BYTES;
    let first = wal_sends(&table.event(Event::WalAvailable { end_lsn }));
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].1.begin_lsn, first[0].1.end_lsn), (E, E + MAX_APPEND_BYTES));
    assert!(table.event(Event::WalAvailable { end_lsn: end_lsn + 8 }).is_empty());
    let second = wal_sends(&table.sent(0));
    assert_eq!(second[0].1.begin_lsn, E + MAX_APPEND_BYTES);
}

#[test]
fn small_pieces_gather_while_a_safekeeper_syncs_two_messages() {
    let mut table = Table::elected(1);
    let mut sends = |end_lsn| {
        let sends = wal_sends(&table.event(Event::WalAvailable { end_lsn }));
        table.sent(0);
        sends.len()
    };
    assert_eq!((sends(E + 8), sends(E + 16)), (1, 1));
    assert_eq!((sends(E + 24), sends(E + 32)), (0, 0));
    let gathered = wal_sends(&table.flushed(0, E + 8));
    assert_eq!((gathered[0].1.begin_lsn, gathered[0].1.end_lsn), (E + 16, E + 32));
}

#[test]
fn a_record_longer_than_two_messages_is_not_held_back() {
    let mut table = Table::elected(1);
    for end_lsn in [E + 8, E + 16] {
        table.event(Event::WalAvailable { end_lsn });
        table.sent(0);
    }
    assert!(wal_sends(&table.event(Event::WalAvailable { end_lsn: E + 24 })).is_empty());
    // Nothing whole was flushed yet, so the position cannot move.
    let rest = wal_sends(&table.flushed(0, E));
    assert_eq!((rest[0].1.begin_lsn, rest[0].1.end_lsn), (E + 16, E + 24));
}

#[test]
fn full_messages_do_not_wait_for_a_busy_safekeeper() {
    let mut table = Table::elected(1);
    let end_lsn = E + 5 * MAX_APPEND_BYTES;
    let mut sent = wal_sends(&table.event(Event::WalAvailable { end_lsn })).len();
    for _ in 0..4 {
        sent += wal_sends(&table.sent(0)).len();
    }
    assert_eq!(sent, 5);
}

#[test]
fn many_full_messages_that_one_answer_is_for_hold_nothing_back() {
    let mut table = Table::elected(1);
    let end_lsn = E + 5 * MAX_APPEND_BYTES;
    table.event(Event::WalAvailable { end_lsn });
    (0..5).for_each(|_| drop(table.sent(0)));
    table.flushed(0, end_lsn);
    let next = wal_sends(&table.event(Event::WalAvailable { end_lsn: end_lsn + 8 }));
    assert_eq!(next.len(), 1);
    assert_eq!((next[0].1.begin_lsn, next[0].1.end_lsn), (end_lsn, end_lsn + 8));
}

#[test]
fn a_commit_position_travels_with_the_next_wal() {
    let mut table = Table::elected(1);
    table.event(Event::WalAvailable { end_lsn: E + 8 });
    table.sent(0);
    assert!(wal_sends(&table.flushed(0, E + 8)).is_empty());
    let next = wal_sends(&table.event(Event::WalAvailable { end_lsn: E + 16 }));
    assert_eq!(next[0].1.commit_lsn, E + 8);
}

#[test]
fn a_commit_position_that_no_wal_carries_is_announced_soon() {
    let mut table = Table::elected(1);
    table.event(Event::WalAvailable { end_lsn: E + 8 });
    table.sent(0);
    table.flushed(0, E + 8);
    table.now_ms = table.proposer.next_wakeup_ms();
    let announced = wal_sends(&table.event(Event::Tick));
    assert_eq!(announced[0].1.commit_lsn, E + 8);
    assert_eq!(announced[0].1.begin_lsn, announced[0].1.end_lsn);
    table.sent(0);
    table.now_ms += 20;
    assert!(table.event(Event::Tick).is_empty());
}

#[test]
fn heartbeats_carry_the_commit_position_without_wal() {
    let mut table = Table::elected(1);
    table.flushed(0, E);
    table.sent(0);
    table.now_ms += 1000;
    let beats = wal_sends(&table.event(Event::Tick));
    assert_eq!(beats.len(), 1);
    assert_eq!((beats[0].1.begin_lsn, beats[0].1.end_lsn), (E, E));
    assert_eq!(beats[0].1.commit_lsn, E);
}

#[test]
fn a_response_alone_does_not_cause_a_message() {
    let mut table = Table::elected(1);
    table.flushed(0, E);
    table.sent(0);
    assert!(table.flushed(0, E).is_empty());
}

#[test]
fn a_lagging_safekeeper_is_filled_from_a_donor_and_only_up_to_our_term() {
    let mut table = Table::new(streaming(E), 3);
    (0..3).for_each(|index| drop(table.greet(index, 1)));
    table.vote(0, agreed_vote());
    let actions = table.vote(1, VoteResponse { flush_lsn: Lsn(600), ..agreed_vote() });
    // Nobody has confirmed to follow our history yet.
    let first = wal_sends(&actions);
    assert!(first.iter().all(|(_, header, _)| header.wal_bytes() == 0));
    table.sent(1);
    table.event(Event::WalAvailable { end_lsn: Lsn(1100) });
    let refill = wal_sends(&table.flushed(0, E));
    let (index, header, source) = &refill[refill.len() - 1];
    assert_eq!((*index, header.begin_lsn, header.end_lsn), (1, Lsn(600), E));
    assert_eq!(*source, WalSource::Donor { safekeeper: 0, term: 2 });
    let rest = wal_sends(&table.sent(1));
    assert_eq!((rest[0].1.begin_lsn, rest[0].2), (E, WalSource::Local));
}

#[test]
fn below_the_local_window_wal_comes_from_a_donor_or_from_the_database() {
    let mut table = Table::elected(2);
    table.event(Event::WalAvailable { end_lsn: Lsn(1100) });
    table.sent(0);
    table.flushed(0, Lsn(1060));
    table.disconnect(1);
    table.event(Event::LocalWindow { start_lsn: Lsn(1100) });
    table.reconnect_all();
    table.greet(1, 2);
    let vote = VoteResponse {
        vote_given: false,
        term_history: TermHistory::from([(1, Lsn(500)), (2, E)]),
        ..agreed_vote()
    };
    let refill = wal_sends(&table.vote(1, vote));
    assert_eq!((refill[0].1.begin_lsn, refill[0].1.end_lsn), (E, Lsn(1060)));
    assert_eq!(refill[0].2, WalSource::Donor { safekeeper: 0, term: 2 });
    let rest = wal_sends(&table.sent(1));
    assert_eq!((rest[0].1.begin_lsn, rest[0].1.end_lsn), (Lsn(1060), Lsn(1100)));
    assert_eq!(rest[0].2, WalSource::Database);
}

#[test]
fn pageserver_progress_is_the_minimum_over_shards() {
    let mut table = Table::elected(1);
    let mut report = |shard_number, lsn| {
        let feedback = PageserverFeedback {
            shard_number,
            last_received_lsn: Lsn(lsn),
            current_timeline_size_bytes: if shard_number == 0 { 77 } else { 0 },
            ..PageserverFeedback::default()
        };
        let pageserver_feedback = Some(feedback);
        let response =
            AppendResponse { term: 2, flush_lsn: E, pageserver_feedback, ..Default::default() };
        table.receive(0, AcceptorMessage::AppendResponse(response))
    };
    report(0, 300);
    let progress = PageserverProgress {
        last_received_lsn: Lsn(200),
        timeline_size_bytes: 77,
        ..PageserverProgress::default()
    };
    assert!(report(1, 200).contains(&Action::PageserverFeedback(progress)));
    assert!(report(1, 200).is_empty());
    assert!(report(500, 1).is_empty());
}

#[test]
fn standby_feedback_is_the_oldest_over_active_safekeepers() {
    let mut table = Table::elected(2);
    let mut report = |index, xmin| {
        let hs_feedback = HotStandbyFeedback { ts: 5, xmin, catalog_xmin: 0 };
        let response = AppendResponse { term: 2, flush_lsn: E, hs_feedback, ..Default::default() };
        table.receive(index, AcceptorMessage::AppendResponse(response))
    };
    let told =
        |xmin| Action::HotStandbyFeedback(HotStandbyFeedback { ts: 5, xmin, catalog_xmin: 0 });
    assert!(report(0, 700).contains(&told(700)));
    assert!(report(1, 600).contains(&told(600)));
    assert!(!report(0, 650).iter().any(|a| matches!(a, Action::HotStandbyFeedback(_))));
}
