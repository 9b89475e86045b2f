use super::*;

#[test]
fn a_silent_peer_is_no_longer_alive() {
    let mut table = PeersTable::default();
    let start = Instant::now();
    let timeout = Duration::from_secs(5);
    table.record(NodeId(1), &SafekeeperTimelineInfo::default(), start);
    table.record(NodeId(2), &SafekeeperTimelineInfo::default(), start + Duration::from_secs(4));
    let alive = table.alive(start + Duration::from_secs(6), timeout);
    assert_eq!(alive.iter().map(|peer| peer.sk_id).collect::<Vec<_>>(), [NodeId(2)]);
}

#[test]
fn the_last_word_of_a_peer_replaces_the_earlier_one() {
    let mut table = PeersTable::default();
    let now = Instant::now();
    let info = |term| SafekeeperTimelineInfo { term: Some(term), ..Default::default() };
    table.record(NodeId(1), &info(3), now);
    table.record(NodeId(1), &info(4), now);
    let alive = table.alive(now, Duration::from_secs(5));
    assert_eq!(alive.iter().map(|peer| peer.term).collect::<Vec<_>>(), [4]);
}
