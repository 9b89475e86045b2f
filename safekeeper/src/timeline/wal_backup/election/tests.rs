use super::*;

fn peer(id: u64, commit_lsn: u64, local_start_lsn: u64) -> PeerInfo {
    PeerInfo {
        sk_id: NodeId(id),
        term: 1,
        last_log_term: 1,
        flush_lsn: Lsn(commit_lsn),
        commit_lsn: Lsn(commit_lsn),
        local_start_lsn: Lsn(local_start_lsn),
        pg_connstr: String::new(),
        http_connstr: String::new(),
    }
}

fn timeline(first_byte: u8) -> TimelineId {
    let mut bytes = [0; 16];
    bytes[0] = first_byte;
    TimelineId::from_bytes(bytes)
}

#[test]
fn timelines_are_spread_over_the_candidates() {
    let peers = [peer(3, 100, 1), peer(1, 100, 1), peer(2, 100, 1)];
    let elected = [0, 1, 2, 3].map(|byte| elect(&peers, Lsn(50), 10, timeline(byte)));
    assert_eq!(elected, [1, 2, 3, 1].map(|id| Some(NodeId(id))));
}

#[test]
fn a_laggard_is_not_elected() {
    let peers = [peer(1, 100, 1), peer(2, 89, 1), peer(3, 90, 1)];
    assert_eq!(elect(&peers, Lsn(50), 10, timeline(1)), Some(NodeId(3)));
}

#[test]
fn one_without_the_wal_to_archive_is_not_elected() {
    let peers = [peer(1, 100, 60), peer(2, 100, 50)];
    assert_eq!(elect(&peers, Lsn(50), 10, timeline(0)), Some(NodeId(2)));
}

#[test]
fn without_candidates_nobody_is_elected() {
    assert_eq!(elect(&[], Lsn(50), 10, timeline(0)), None);
    assert_eq!(elect(&[peer(1, 100, 60)], Lsn(50), 10, timeline(0)), None);
}
