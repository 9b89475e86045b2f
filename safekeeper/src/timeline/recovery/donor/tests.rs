use utils::Lsn;

use super::*;

/// A peer with this id, term, term of the log and end of the log.
fn peer(id: u64, term: Term, last_log_term: Term, flush_lsn: u64) -> PeerInfo {
    PeerInfo {
        sk_id: NodeId(id),
        term,
        last_log_term,
        flush_lsn: Lsn(flush_lsn),
        commit_lsn: Lsn(0),
        local_start_lsn: Lsn(0),
        pg_connstr: String::new(),
        http_connstr: String::new(),
    }
}

/// We are in term 3, with a log of term 3 up to 100.
fn standing(peers: &[PeerInfo]) -> Standing {
    let flushed = FlushPosition { last_log_term: 3, flush_lsn: Lsn(100) };
    Standing { term: 3, flushed, peers: peers.to_vec() }
}

fn donor(peers: &[PeerInfo]) -> Option<u64> {
    standing(peers).donor(false).map(|peer| peer.sk_id.0)
}

#[test]
fn the_peer_with_the_newest_log_is_taken() {
    assert_eq!(donor(&[peer(1, 3, 3, 200), peer(2, 4, 4, 150), peer(3, 3, 3, 300)]), Some(2));
}

#[test]
fn a_peer_that_has_no_more_than_we_is_none() {
    assert_eq!(donor(&[peer(1, 3, 3, 100), peer(2, 3, 3, 50)]), None);
}

#[test]
fn a_vote_in_progress_is_not_interfered_with() {
    assert_eq!(donor(&[peer(1, 5, 3, 200)]), None);
}

#[test]
fn a_peer_of_an_earlier_term_is_none() {
    let standing = Standing { term: 4, ..standing(&[peer(1, 3, 3, 200)]) };
    assert!(standing.donor(false).is_none());
}

#[test]
fn nobody_is_needed_while_a_compute_streams() {
    let standing = standing(&[peer(1, 3, 3, 200)]);
    assert!(standing.donor(true).is_none());
    assert!(standing.is_donor(NodeId(1), false) && !standing.is_donor(NodeId(1), true));
}
