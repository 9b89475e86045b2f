use pq_proto::PgTimestamp;

use super::*;

fn addr() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

fn needs(xmin: u64, catalog_xmin: u64, ts: i64) -> HotStandbyFeedback {
    HotStandbyFeedback { timestamp: PgTimestamp(ts), xmin, catalog_xmin }
}

fn applied(lsn: u64) -> StandbyReply {
    StandbyReply { apply_lsn: Lsn(lsn), ..Default::default() }
}

#[test]
fn the_oldest_transaction_any_standby_needs_wins() {
    let registry = WalSenders::new();
    let first = registry.register(addr(), 1, Some("replica".into()), false);
    let second = registry.register(addr(), 2, Some("replica".into()), false);
    first.record_hot_standby_feedback(needs(30, 0, 5));
    second.record_hot_standby_feedback(needs(20, 90, 9));
    assert_eq!(registry.standby_aggregate().hot_standby, needs(20, 90, 9));
}

#[test]
fn a_reply_alone_moves_the_standby_horizon() {
    let registry = WalSenders::new();
    let guard = registry.register(addr(), 1, None, false);
    guard.record_standby_reply(applied(100));
    assert_eq!(registry.standby_aggregate().apply_lsn, Lsn(100));
}

#[test]
fn a_gone_standby_no_longer_counts() {
    let registry = WalSenders::new();
    let guard = registry.register(addr(), 1, None, false);
    guard.record_hot_standby_feedback(needs(30, 0, 5));
    drop(guard);
    assert_eq!(registry.standby_aggregate(), StandbyAggregate::default());
}

#[test]
fn a_recovering_peer_is_not_a_standby() {
    let registry = WalSenders::new();
    let guard = registry.register(addr(), 1, Some("safekeeper_2".into()), true);
    guard.record_standby_reply(applied(100));
    assert_eq!(registry.standby_aggregate().apply_lsn, Lsn(0));
}

#[test]
fn pageserver_feedback_reaches_those_who_push() {
    let registry = WalSenders::new();
    let mut follower = registry.subscribe_pageserver_feedback();
    let guard = registry.register(addr(), 1, Some("pageserver".into()), false);
    let feedback = PageserverFeedback { last_received_lsn: Lsn(7), ..Default::default() };
    guard.record_pageserver_feedback(feedback);
    assert_eq!(follower.try_recv().unwrap(), feedback);
    assert_eq!(registry.pageserver_progress().count, 1);
}

#[test]
fn the_laggard_is_the_slowest_pageserver() {
    let registry = WalSenders::new();
    assert_eq!(registry.laggard_lsn(), None);
    let first = registry.register(addr(), 1, None, false);
    let second = registry.register(addr(), 2, None, false);
    let received = |lsn| PageserverFeedback { last_received_lsn: Lsn(lsn), ..Default::default() };
    first.record_pageserver_feedback(received(50));
    second.record_pageserver_feedback(received(40));
    assert_eq!(registry.laggard_lsn(), Some(Lsn(40)));
}
