use utils::{NodeId, TenantId, TenantTimelineId, TimelineId};
use wal_quorum::control_file::{ControlFile, ServerInfo};

use super::*;
use crate::durability::Durability;
use crate::wal_storage::{SEGMENT_SIZE, SegmentDir};

/// A state whose positions are these, in segments.
fn state(remote_consistent: u64, peer_horizon: u64, commit: u64, backup: u64) -> SharedState {
    let dir = tempfile::tempdir().unwrap();
    let path = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let ttid = TenantTimelineId::new(TenantId::generate(), TimelineId::generate());
    let server = ServerInfo { pg_version: 150_018, system_id: 1, wal_seg_size: 16 << 20 };
    let commit_lsn = Lsn(commit * SEGMENT_SIZE);
    let mut file = ControlFile::new(ttid, server, commit_lsn, Lsn(SEGMENT_SIZE));
    file.remote_consistent_lsn = Lsn(remote_consistent * SEGMENT_SIZE);
    file.peer_horizon_lsn = Lsn(peer_horizon * SEGMENT_SIZE);
    file.backup_lsn = Lsn(backup * SEGMENT_SIZE);
    SharedState::open(&SegmentDir::new(path, Durability::Unsynced), file, NodeId(1)).unwrap()
}

fn check(state: &SharedState, archived: bool, laggard: Option<u64>, segments: u64) {
    let laggard = laggard.map(|segments| Lsn(segments * SEGMENT_SIZE));
    assert_eq!(horizon(state, archived, laggard), Lsn(segments * SEGMENT_SIZE));
}

#[test]
fn the_slowest_of_pageservers_peers_and_commits_bounds_removal() {
    check(&state(5, 6, 7, 9), false, None, 5);
    check(&state(6, 5, 7, 9), false, None, 5);
    check(&state(7, 6, 5, 9), false, None, 5);
}

#[test]
fn wal_that_nobody_archives_does_not_wait_for_the_archive() {
    check(&state(5, 6, 7, 1), false, None, 5);
}

#[test]
fn wal_that_is_archived_waits_for_the_archive() {
    check(&state(5, 6, 7, 4), true, None, 4);
}

#[test]
fn with_an_archive_a_dead_peer_does_not_pin_wal() {
    check(&state(5, 1, 7, 6), true, None, 5);
}

#[test]
fn connected_pageservers_can_bound_removal() {
    check(&state(5, 6, 7, 9), false, Some(3), 3);
}
