//! The rules an acceptor keeps, one by one.

use bytes::Bytes;
use utils::{TenantId, TenantTimelineId, TimelineId};

use super::*;
use crate::messages::{
    AppendRequest, AppendRequestHeader, AppendResponse, ProposerElected, ProposerUuid,
};
use crate::simulation::disk::{Disk, DiskFault, SimulatedWal};
use crate::simulation::records::{DATABASE_START, record};

type TestAcceptor = Acceptor<SimulatedWal, Disk>;

const SEGMENT: u32 = 1 << 20;

fn new_acceptor() -> (TestAcceptor, Disk) {
    let disk = Disk::new(1, DiskFault::None);
    let ttid =
        TenantTimelineId::new(TenantId::from_bytes([1; 16]), TimelineId::from_bytes([2; 16]));
    let server = ServerInfo { pg_version: 150013, system_id: 0, wal_seg_size: SEGMENT };
    let file = ControlFile::new(ttid, server, Lsn::INVALID, Lsn::INVALID);
    TimelineState::create(disk.clone(), file).unwrap();
    (open(&disk), disk)
}

fn open(disk: &Disk) -> TestAcceptor {
    let file = disk.control_file().unwrap();
    let wal = SimulatedWal::open(disk.clone(), &file);
    Acceptor::new(TimelineState::loaded(disk.clone(), file), wal, NodeId(1))
}

fn greeting() -> ProposerGreeting {
    ProposerGreeting {
        pg_version: 150002,
        proposer_uuid: ProposerUuid::default(),
        system_id: 77,
        timeline_id: TimelineId::from_bytes([2; 16]),
        tenant_id: TenantId::from_bytes([1; 16]),
        pg_timeline: 1,
        wal_seg_size: SEGMENT,
    }
}

fn vote(acceptor: &mut TestAcceptor, term: Term) -> VoteResponse {
    let request = VoteRequest { term, proposer_uuid: ProposerUuid::default() };
    match acceptor.process(ProposerMessage::VoteRequest(request)).unwrap() {
        Some(AcceptorMessage::VoteResponse(response)) => response,
        other => panic!("unexpected answer {other:?}"),
    }
}

fn elect(
    acceptor: &mut TestAcceptor,
    start: Lsn,
    history: &[(Term, Lsn)],
) -> Result<(), AcceptorError> {
    let term_history = TermHistory(history.iter().map(|&entry| entry.into()).collect());
    let elected = ProposerElected {
        term: term_history.last_term(),
        start_streaming_at: start,
        term_history,
        timeline_start_lsn: DATABASE_START,
    };
    acceptor.process(ProposerMessage::Elected(elected)).map(|answer| assert_eq!(answer, None))
}

fn request(term: Term, begin: Lsn, wal: &[u8], commit_lsn: Lsn) -> AppendRequest {
    let header = AppendRequestHeader {
        term,
        term_start_lsn: DATABASE_START,
        begin_lsn: begin,
        end_lsn: begin + wal.len() as u64,
        commit_lsn,
        truncate_lsn: Lsn::INVALID,
        proposer_uuid: ProposerUuid([9; 16]),
    };
    AppendRequest { header, wal: Bytes::copy_from_slice(wal) }
}

fn append(
    acceptor: &mut TestAcceptor,
    term: Term,
    begin: Lsn,
    wal: &[u8],
    commit_lsn: Lsn,
) -> Result<AppendResponse, AcceptorError> {
    let message = ProposerMessage::AppendRequest(request(term, begin, wal, commit_lsn));
    match acceptor.process(message)? {
        Some(AcceptorMessage::AppendResponse(response)) => Ok(response),
        other => panic!("unexpected answer {other:?}"),
    }
}

/// An acceptor led in term 1 with one record on disk, and the record's end.
fn led_acceptor() -> (TestAcceptor, Disk, Lsn) {
    let (mut acceptor, disk) = new_acceptor();
    vote(&mut acceptor, 1);
    elect(&mut acceptor, DATABASE_START, &[(1, DATABASE_START)]).unwrap();
    let wal = record(1, 2);
    append(&mut acceptor, 1, DATABASE_START, &wal, Lsn::INVALID).unwrap();
    (acceptor, disk, DATABASE_START + wal.len() as u64)
}

#[test]
fn a_greeting_teaches_the_system_id_durably() {
    let (mut acceptor, disk) = new_acceptor();
    let answer = acceptor.process(ProposerMessage::Greeting(greeting())).unwrap();
    let expected = AcceptorGreeting { term: 0, node_id: NodeId(1) };
    assert_eq!(answer, Some(AcceptorMessage::Greeting(expected)));
    let server = disk.control_file().unwrap().server;
    assert_eq!((server.system_id, server.pg_version), (77, 150002));
}

#[test]
fn a_greeting_that_does_not_fit_the_timeline_is_refused() {
    let (mut acceptor, _) = new_acceptor();
    let wrong = [
        ProposerGreeting { pg_version: 160000, ..greeting() },
        ProposerGreeting { tenant_id: TenantId::from_bytes([9; 16]), ..greeting() },
        ProposerGreeting { timeline_id: TimelineId::from_bytes([9; 16]), ..greeting() },
        ProposerGreeting { wal_seg_size: 2 * SEGMENT, ..greeting() },
    ];
    for greeting in wrong {
        let error = acceptor.process(ProposerMessage::Greeting(greeting)).unwrap_err();
        assert!(matches!(error, AcceptorError::GreetingMismatch { .. }), "{error}");
    }
}

#[test]
fn a_vote_is_durable_and_given_once_per_term() {
    let (mut acceptor, disk) = new_acceptor();
    let first = vote(&mut acceptor, 3);
    assert!(first.vote_given);
    assert_eq!(disk.control_file().unwrap().acceptor_state.term, 3);
    let mut restarted = open(&disk);
    let second = vote(&mut restarted, 3);
    assert_eq!((second.vote_given, second.term), (false, 3));
    assert!(!vote(&mut restarted, 2).vote_given);
    assert!(vote(&mut restarted, 4).vote_given);
}

#[test]
fn a_refused_vote_still_tells_what_the_log_holds() {
    let (mut acceptor, _, end) = led_acceptor();
    let refusal = vote(&mut acceptor, 1);
    assert!(!refusal.vote_given);
    assert_eq!((refusal.flush_lsn, refusal.timeline_start_lsn), (end, DATABASE_START));
    assert_eq!(refusal.term_history, TermHistory::from([(1, DATABASE_START)]));
}

#[test]
fn a_vote_flushes_what_was_written_before() {
    let (mut acceptor, _, end) = led_acceptor();
    let wal = record(2, 2);
    assert!(acceptor.append_without_flush(&request(1, end, &wal, Lsn::INVALID)).unwrap().is_none());
    assert_eq!(acceptor.flush_lsn(), end);
    assert_eq!(vote(&mut acceptor, 2).flush_lsn, end + wal.len() as u64);
}

#[test]
fn appending_before_the_announcement_is_an_error() {
    let (mut acceptor, _) = new_acceptor();
    let error = append(&mut acceptor, 1, DATABASE_START, &[], Lsn::INVALID).unwrap_err();
    assert!(error.to_string().contains("got AppendRequest before ProposerElected"));
}

#[test]
fn a_vote_alone_does_not_let_wal_in() {
    let (mut acceptor, _, end) = led_acceptor();
    vote(&mut acceptor, 2);
    let error = append(&mut acceptor, 2, end, &record(3, 1), end).unwrap_err();
    assert!(matches!(error, AcceptorError::AppendBeforeElected { request: 2, current: 2 }));
    assert_eq!(acceptor.wal().write_lsn(), end);
}

#[test]
fn wal_of_a_bygone_term_is_not_written() {
    let (mut acceptor, _, end) = led_acceptor();
    vote(&mut acceptor, 5);
    let response = append(&mut acceptor, 1, end, &record(3, 1), end).unwrap();
    assert_eq!(response, AppendResponse::term_only(5));
    assert_eq!(acceptor.wal().write_lsn(), end);
}

#[test]
fn only_whole_records_are_acknowledged() {
    let (mut acceptor, _, end) = led_acceptor();
    let wal = record(7, 8);
    let (head, tail) = wal.split_at(20);
    assert_eq!(append(&mut acceptor, 1, end, head, Lsn::INVALID).unwrap().flush_lsn, end);
    let response = append(&mut acceptor, 1, end + 20, tail, Lsn::INVALID).unwrap();
    assert_eq!(response.flush_lsn, end + wal.len() as u64);
}

#[test]
fn the_commit_position_is_capped_by_the_durable_log() {
    let (mut acceptor, _, end) = led_acceptor();
    append(&mut acceptor, 1, end, &[], Lsn(end.0 + 1000)).unwrap();
    assert_eq!(acceptor.state().memory.commit_lsn, end);
}

#[test]
fn a_batch_is_committed_only_up_to_what_was_flushed_before_it() {
    let (mut acceptor, _, end) = led_acceptor();
    let wal = record(4, 4);
    let batch_end = end + wal.len() as u64;
    acceptor.append_without_flush(&request(1, end, &wal, batch_end)).unwrap();
    assert_eq!(acceptor.state().memory.commit_lsn, end);
    assert_eq!(acceptor.flush_and_respond().unwrap().flush_lsn, batch_end);
}

#[test]
fn the_file_follows_the_commit_position_about_once_per_segment() {
    let (mut acceptor, disk, end) = led_acceptor();
    let big = record(5, SEGMENT as usize / 8);
    let big_end = end + big.len() as u64;
    append(&mut acceptor, 1, end, &big, Lsn(end.0 + 1)).unwrap();
    assert_eq!(disk.control_file().unwrap().commit_lsn, DATABASE_START);
    append(&mut acceptor, 1, big_end, &[], big_end).unwrap();
    assert_eq!(disk.control_file().unwrap().commit_lsn, big_end);
}

#[test]
fn reaching_the_terms_start_is_persisted_for_syncing_proposers() {
    let (mut acceptor, disk, end) = led_acceptor();
    vote(&mut acceptor, 2);
    elect(&mut acceptor, end, &[(1, DATABASE_START), (2, end)]).unwrap();
    assert_eq!(acceptor.term_start_lsn(), end);
    let response = append(&mut acceptor, 2, end, &[], end).unwrap();
    assert_eq!(response.commit_lsn, end);
    assert_eq!(disk.control_file().unwrap().commit_lsn, end);
}

#[test]
fn the_first_leader_sets_where_the_timeline_begins() {
    let (_, disk, _) = led_acceptor();
    let file = disk.control_file().unwrap();
    assert_eq!(file.timeline_start_lsn, DATABASE_START);
    assert_eq!(file.local_start_lsn, DATABASE_START);
    assert_eq!(file.peer_horizon_lsn, DATABASE_START);
    assert_eq!((file.commit_lsn, file.backup_lsn), (DATABASE_START, DATABASE_START));
    assert_eq!(file.remote_consistent_lsn, DATABASE_START);
}

#[test]
fn a_new_leader_cuts_the_tail_it_does_not_have() {
    let (mut acceptor, disk, end) = led_acceptor();
    let tail = record(6, 3);
    append(&mut acceptor, 1, end, &tail, Lsn::INVALID).unwrap();
    vote(&mut acceptor, 3);
    elect(&mut acceptor, end, &[(1, DATABASE_START), (2, end), (3, end)]).unwrap();
    assert_eq!(acceptor.flush_lsn(), end);
    assert_eq!(acceptor.last_log_term(), 3);
    assert_eq!(disk.read_durable(end..end + 8), [0; 8]);
}

#[test]
fn power_failing_anywhere_during_an_announcement_never_mislabels_the_log() {
    for operations in 0..12 {
        let (mut acceptor, disk, end) = led_acceptor();
        append(&mut acceptor, 1, end, &record(6, 30), Lsn::INVALID).unwrap();
        disk.fail_after(operations);
        let history = [(1, DATABASE_START), (2, end), (3, end)];
        let _ = elect(&mut acceptor, end, &history);
        disk.power_failure();
        let acceptor = open(&disk);
        let cut = acceptor.flush_lsn() == end;
        assert!(cut || acceptor.last_log_term() == 1, "after {operations} operations");
        assert!(acceptor.flush_lsn() >= end, "after {operations} operations");
    }
}

#[test]
fn the_announcement_of_a_bygone_leader_is_ignored() {
    let (mut acceptor, _, end) = led_acceptor();
    vote(&mut acceptor, 5);
    elect(&mut acceptor, end, &[(1, DATABASE_START), (4, end)]).unwrap();
    assert_eq!((acceptor.term(), acceptor.last_log_term()), (5, 1));
}

#[test]
fn an_announcement_brings_the_term_to_an_acceptor_that_did_not_vote() {
    let (mut acceptor, disk) = new_acceptor();
    elect(&mut acceptor, DATABASE_START, &[(8, DATABASE_START)]).unwrap();
    assert_eq!(disk.control_file().unwrap().acceptor_state.term, 8);
}

#[test]
fn wal_of_the_leaders_own_term_is_never_cut() {
    let (mut acceptor, _, end) = led_acceptor();
    let error = elect(&mut acceptor, DATABASE_START, &[(1, DATABASE_START)]).unwrap_err();
    assert!(error.to_string().contains("refusing ProposerElected which is going to overwrite"));
    assert_eq!(acceptor.flush_lsn(), end);
}

#[test]
fn a_streaming_point_away_from_the_common_point_is_refused() {
    let (mut acceptor, _, end) = led_acceptor();
    vote(&mut acceptor, 2);
    let error = elect(&mut acceptor, DATABASE_START, &[(1, DATABASE_START), (2, end)]).unwrap_err();
    assert!(
        matches!(error, AcceptorError::WrongStreamingPoint { computed, .. } if computed == end)
    );
}

#[test]
fn a_history_that_is_not_the_leaders_is_refused() {
    let (mut acceptor, _, end) = led_acceptor();
    let announce = |acceptor: &mut TestAcceptor, term, term_history| {
        acceptor.process(ProposerMessage::Elected(ProposerElected {
            term,
            start_streaming_at: end,
            term_history,
            timeline_start_lsn: DATABASE_START,
        }))
    };
    let empty = announce(&mut acceptor, 2, TermHistory::default());
    assert!(matches!(empty, Err(AcceptorError::InvalidHistory { .. })));
    let foreign = announce(&mut acceptor, 3, TermHistory::from([(1, DATABASE_START), (2, end)]));
    assert!(matches!(foreign, Err(AcceptorError::ForeignHistory { term: 3, last: 2 })));
    assert_eq!(acceptor.term(), 1);
}

#[test]
#[should_panic(expected = "would truncate committed WAL")]
fn cutting_committed_wal_aborts() {
    let (mut acceptor, _, end) = led_acceptor();
    append(&mut acceptor, 1, end, &[], end).unwrap();
    vote(&mut acceptor, 3);
    let history = [(1, DATABASE_START), (2, DATABASE_START + 8), (3, DATABASE_START + 8)];
    let _ = elect(&mut acceptor, DATABASE_START + 8, &history);
}

#[test]
fn a_restart_finds_flushed_wal_and_forgets_nothing_promised() {
    let (acceptor, disk, end) = led_acceptor();
    drop(acceptor);
    disk.power_failure();
    let acceptor = open(&disk);
    assert_eq!((acceptor.flush_lsn(), acceptor.term(), acceptor.last_log_term()), (end, 1, 1));
    assert_eq!(acceptor.term_start_lsn(), Lsn::INVALID);
}

#[test]
fn a_peers_commit_position_counts_only_for_the_same_log() {
    let (mut acceptor, _, end) = led_acceptor();
    acceptor
        .record_peer(&PeerInfo { last_log_term: 2, commit_lsn: end, ..Default::default() })
        .unwrap();
    assert_eq!(acceptor.state().memory.commit_lsn, DATABASE_START);
    acceptor
        .record_peer(&PeerInfo { last_log_term: 1, commit_lsn: end, ..Default::default() })
        .unwrap();
    assert_eq!(acceptor.state().memory.commit_lsn, end);
}

#[test]
fn a_peers_positions_are_persisted_once_they_are_a_segment_ahead() {
    let (mut acceptor, disk, _) = led_acceptor();
    let near = Lsn(DATABASE_START.0 + u64::from(SEGMENT));
    acceptor.record_peer(&PeerInfo { backup_lsn: near, ..Default::default() }).unwrap();
    assert_eq!(disk.control_file().unwrap().backup_lsn, DATABASE_START);
    let far = near + 1;
    acceptor.record_peer(&PeerInfo { backup_lsn: far, ..Default::default() }).unwrap();
    assert_eq!(disk.control_file().unwrap().backup_lsn, far);
    acceptor.record_peer(&PeerInfo { backup_lsn: near, ..Default::default() }).unwrap();
    assert_eq!(acceptor.state().memory.backup_lsn, far);
}
