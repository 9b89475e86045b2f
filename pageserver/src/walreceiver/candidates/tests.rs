use std::num::NonZeroU64;

use super::*;

fn config() -> WalReceiverConfig {
    WalReceiverConfig {
        connect_timeout: Duration::from_secs(10),
        lagging_wal_timeout: Duration::from_secs(10),
        max_lsn_wal_lag_bytes: NonZeroU64::new(1000).unwrap(),
        ingest_batch_size: 100,
        availability_zone: Some("here".to_owned()),
        auth_token: None,
        tls: Default::default(),
    }
}

fn info(commit_lsn: u64) -> SafekeeperInfo {
    let connstr = "127.0.0.1:5454".to_owned();
    SafekeeperInfo { commit_lsn: Lsn(commit_lsn), connstr, availability_zone: None }
}

fn candidates(list: &[(u64, u64)], now: Instant) -> Candidates {
    let mut candidates = Candidates::default();
    for (node, commit_lsn) in list {
        assert!(candidates.update(NodeId(*node), info(*commit_lsn), now));
    }
    candidates
}

/// A connection to node 1 that streams, and has everything its safekeeper has.
fn streaming(lsn: u64, now: Instant) -> CurrentConnection {
    let mut current = CurrentConnection::starting(NodeId(1), None, now);
    current.progress.is_connected = true;
    current.progress.streaming_lsn = Some(Lsn(lsn));
    current.progress.commit_lsn = Some(Lsn(lsn));
    current
}

fn choice(
    candidates: &Candidates,
    current: Option<&mut CurrentConnection>,
    now: Instant,
) -> Option<(u64, SwitchReason)> {
    let choice = candidates.choose(current, Lsn(100), &config(), now)?;
    Some((choice.node.0, choice.reason))
}

#[test]
fn the_safekeeper_with_the_most_wal_is_chosen() {
    let now = Instant::now();
    let candidates = candidates(&[(1, 500), (2, 700), (3, 600)], now);
    assert_eq!(choice(&candidates, None, now), Some((2, SwitchReason::NoExistingConnection)));
}

#[test]
fn safekeepers_without_wal_or_address_are_passed_over() {
    let now = Instant::now();
    let mut candidates = candidates(&[(1, 0)], now);
    let nowhere = SafekeeperInfo { connstr: String::new(), ..info(500) };
    candidates.update(NodeId(2), nowhere, now);
    assert_eq!(choice(&candidates, None, now), None);
}

#[test]
fn a_good_connection_is_kept() {
    let now = Instant::now();
    let candidates = candidates(&[(1, 500), (2, 500)], now);
    assert_eq!(choice(&candidates, Some(&mut streaming(500, now)), now), None);
}

#[test]
fn a_silent_connection_is_replaced() {
    let now = Instant::now();
    let candidates = candidates(&[(2, 500)], now);
    let later = now + Duration::from_secs(11);
    let mut connecting = CurrentConnection::starting(NodeId(1), None, now);
    assert_eq!(choice(&candidates, Some(&mut connecting), now), None);
    assert_eq!(
        choice(&candidates, Some(&mut connecting), later),
        Some((2, SwitchReason::NoKeepAlives))
    );
}

#[test]
fn a_safekeeper_far_ahead_is_preferred() {
    let now = Instant::now();
    let near = candidates(&[(2, 1499)], now);
    assert_eq!(choice(&near, Some(&mut streaming(500, now)), now), None);
    let far = candidates(&[(2, 1500)], now);
    let chosen = choice(&far, Some(&mut streaming(500, now)), now);
    assert_eq!(chosen, Some((2, SwitchReason::LaggingWal)));
}

#[test]
fn a_safekeeper_in_our_zone_is_preferred() {
    let now = Instant::now();
    let mut candidates = Candidates::default();
    let here = SafekeeperInfo { availability_zone: Some("here".to_owned()), ..info(500) };
    candidates.update(NodeId(2), here, now);
    let chosen = choice(&candidates, Some(&mut streaming(500, now)), now);
    assert_eq!(chosen, Some((2, SwitchReason::SwitchAvailabilityZone)));
}

#[test]
fn a_connection_that_does_not_get_on_is_replaced() {
    let now = Instant::now();
    let candidates = candidates(&[(2, 600)], now);
    let mut current = streaming(500, now);
    assert_eq!(choice(&candidates, Some(&mut current), now), None);
    let later = now + Duration::from_secs(11);
    // The connection is not silent, only without new WAL.
    current.progress.latest_message = later;
    assert_eq!(
        choice(&candidates, Some(&mut current), later),
        Some((2, SwitchReason::NoWalTimeout))
    );
}

#[test]
fn waiting_starts_anew_once_the_connection_caught_up() {
    let now = Instant::now();
    let ahead = candidates(&[(2, 600)], now);
    let mut current = streaming(500, now);
    assert_eq!(choice(&ahead, Some(&mut current), now), None);
    let later = now + Duration::from_secs(11);
    current.progress = streaming(600, later).progress;
    let further = candidates(&[(2, 700)], later);
    assert_eq!(choice(&further, Some(&mut current), later), None);
}

#[test]
fn failed_connections_are_retried_ever_more_slowly() {
    let now = Instant::now();
    let mut candidates = candidates(&[(1, 500)], now);
    candidates.connection_ended(NodeId(1), now);
    assert_eq!(candidates.time_until_retry(now), Some(Duration::from_millis(100)));
    assert_eq!(choice(&candidates, None, now), None);
    candidates.connection_ended(NodeId(1), now);
    assert_eq!(candidates.time_until_retry(now), Some(Duration::from_millis(150)));
    for _ in 0..30 {
        candidates.connection_ended(NodeId(1), now);
    }
    assert_eq!(candidates.time_until_retry(now), Some(RETRY_MAX));
    candidates.connection_succeeded(NodeId(1));
    assert!(choice(&candidates, None, now).is_some());
}

#[test]
fn silent_safekeepers_are_forgotten() {
    let now = Instant::now();
    let mut candidates = candidates(&[(1, 500)], now);
    let later = now + Duration::from_secs(10);
    candidates.update(NodeId(2), info(400), later);
    assert_eq!(candidates.remove_silent(Duration::from_secs(10), later), [NodeId(1)]);
    assert_eq!(choice(&candidates, None, later), Some((2, SwitchReason::NoExistingConnection)));
}
