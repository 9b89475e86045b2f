//! Golden files of the current versions, hand-built old ones, damage.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::term_history::TermLsn;

fn golden_state() -> ControlFile {
    let start = Lsn(0x16B9188);
    let ttid =
        TenantTimelineId::new(TenantId::from_bytes([0x11; 16]), TimelineId::from_bytes([0x22; 16]));
    let server =
        ServerInfo { pg_version: 160003, system_id: 0x0102030405060708, wal_seg_size: 0x1000000 };
    let mut state = ControlFile::new(ttid, server, Lsn(0x16BA000), start);
    state.acceptor_state = AcceptorState { term: 5, term_history: TermHistory::from([(4, start)]) };
    state.timeline_start_lsn = start;
    state.remote_consistent_lsn = start;
    state
}

fn evicted_golden_state() -> ControlFile {
    let mut state = golden_state();
    let end = Lsn(0x16BA000);
    state.partial_backup.segments.push(PartialRemoteSegment {
        status: UploadStatus::Uploaded,
        name: "000000010000000000000001_4_00000000016BA000_00000000016BA000_sk1.partial".into(),
        commit_lsn: end,
        flush_lsn: end,
        term: 4,
    });
    state.eviction_state = EvictionState::Offloaded(end);
    state
}

fn stored_checksum(file: &[u8]) -> u32 {
    u32::from_le_bytes(file[file.len() - 4..].try_into().unwrap())
}

/// A file of `version` around `body`.
fn file_with(version: u32, body: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u32_le(CONTROL_FILE_MAGIC);
    out.put_u32_le(version);
    body(&mut out);
    let checksum = crc32c::crc32c(&out);
    out.put_u32_le(checksum);
    out.to_vec()
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u64_le(text.len() as u64);
    out.put_slice(text.as_bytes());
}

#[test]
fn a_present_timeline_is_written_as_version_8() {
    let file = golden_state().encode();
    assert_eq!(file.len(), 244);
    assert_eq!(file[..8], [0xEF, 0xCE, 0xFE, 0xCA, 8, 0, 0, 0]);
    assert_eq!(stored_checksum(&file), 0xFF35EB18);
    assert_eq!(ControlFile::decode(&file), Ok(golden_state()));
}

#[test]
fn an_evicted_timeline_is_written_as_version_9() {
    let file = evicted_golden_state().encode();
    assert_eq!(file.len(), 364);
    assert_eq!(stored_checksum(&file), 0x4584E71C);
    assert_eq!(ControlFile::decode(&file), Ok(evicted_golden_state()));
}

#[test]
fn an_empty_state_takes_228_bytes() {
    let server = ServerInfo { pg_version: 150013, system_id: 0, wal_seg_size: 16 << 20 };
    let ttid = TenantTimelineId::new(TenantId::default(), TimelineId::default());
    assert_eq!(ControlFile::new(ttid, server, Lsn(0), Lsn(0)).encode().len(), 228);
}

#[test]
fn version_7_has_no_partial_backup() {
    let newest = golden_state().encode();
    let body = &newest[8..newest.len() - 12];
    let file = file_with(7, |out| out.put_slice(body));
    assert_eq!(ControlFile::decode(&file), Ok(golden_state()));
}

#[test]
fn version_6_without_a_server_version_is_assumed_to_be_14() {
    let mut state = golden_state();
    state.server.pg_version = 0;
    let newest = state.encode();
    let file = file_with(6, |out| out.put_slice(&newest[8..newest.len() - 12]));
    assert_eq!(ControlFile::decode(&file).unwrap().server.pg_version, 140005);
}

#[test]
fn version_5_without_a_start_begins_at_1() {
    let mut state = golden_state();
    state.timeline_start_lsn = Lsn::INVALID;
    state.local_start_lsn = Lsn::INVALID;
    let newest = state.encode();
    let file = file_with(5, |out| out.put_slice(&newest[8..newest.len() - 12]));
    let state = ControlFile::decode(&file).unwrap();
    assert_eq!((state.timeline_start_lsn, state.local_start_lsn), (Lsn(1), Lsn(1)));
}

#[test]
fn version_4_drops_peers_and_archive_positions() {
    let file = file_with(4, |out| {
        put_text(out, &"11".repeat(16));
        put_text(out, &"22".repeat(16));
        out.put_u64_le(5);
        out.put_u64_le(1);
        out.put_u64_le(4);
        out.put_u64_le(0x16B9188);
        out.put_u32_le(160003);
        out.put_u64_le(0x0102030405060708);
        out.put_u32_le(0x1000000);
        put_text(out, &"00".repeat(16));
        [0x16BA000, 1000, 2000, 3000].iter().for_each(|lsn| out.put_u64_le(*lsn));
        out.put_u64_le(1);
        [1, 2, 3, 4, 5].iter().for_each(|field| out.put_u64_le(*field));
    });
    let state = ControlFile::decode(&file).unwrap();
    assert_eq!(state.acceptor_state, golden_state().acceptor_state);
    assert_eq!(state.commit_lsn, Lsn(0x16BA000));
    assert_eq!(state.peer_horizon_lsn, Lsn(2000));
    assert_eq!((state.backup_lsn, state.remote_consistent_lsn), (Lsn(0), Lsn(0)));
    assert!(state.peers.is_empty());
}

#[test]
fn version_3_keeps_hexadecimal_ids_inside_the_server() {
    let file = file_with(3, |out| {
        out.put_u64_le(5);
        out.put_u64_le(1);
        out.put_u64_le(4);
        out.put_u64_le(0x16B9188);
        out.put_u32_le(160003);
        out.put_u64_le(7);
        put_text(out, &"11".repeat(16));
        put_text(out, &"22".repeat(16));
        out.put_u32_le(0x1000000);
        put_text(out, &"33".repeat(16));
        [100, 90, 80].iter().for_each(|lsn| out.put_u64_le(*lsn));
    });
    let state = ControlFile::decode(&file).unwrap();
    assert_eq!(state.ttid(), golden_state().ttid());
    assert_eq!(state.proposer_uuid, ProposerUuid([0x33; 16]));
    assert_eq!((state.commit_lsn, state.peer_horizon_lsn), (Lsn(100), Lsn(90)));
}

#[test]
fn version_2_keeps_raw_ids_inside_the_server() {
    let file = file_with(2, |out| {
        out.put_u64_le(5);
        out.put_u64_le(0);
        out.put_u32_le(160003);
        out.put_u64_le(7);
        out.put_slice(&[0x11; 16]);
        out.put_slice(&[0x22; 16]);
        out.put_u32_le(0x1000000);
        out.put_slice(&[0x33; 16]);
        [100, 90, 80].iter().for_each(|lsn| out.put_u64_le(*lsn));
    });
    let state = ControlFile::decode(&file).unwrap();
    assert_eq!(state.ttid(), golden_state().ttid());
    assert_eq!(state.acceptor_state, AcceptorState { term: 5, ..Default::default() });
}

#[test]
fn version_1_turns_its_epoch_into_a_history() {
    let file = file_with(1, |out| {
        out.put_u64_le(5);
        out.put_u64_le(4);
        out.put_u32_le(160003);
        out.put_u64_le(7);
        out.put_slice(&[0x11; 16]);
        out.put_slice(&[0x22; 16]);
        out.put_u32_le(0x1000000);
        out.put_slice(&[0x33; 16]);
        [100, 90, 80].iter().for_each(|lsn| out.put_u64_le(*lsn));
    });
    let state = ControlFile::decode(&file).unwrap();
    assert_eq!(state.acceptor_state.term, 5);
    assert_eq!(state.acceptor_state.term_history.0, [TermLsn { term: 4, lsn: Lsn(0) }]);
}

#[test]
fn every_single_byte_of_damage_is_noticed() {
    let file = evicted_golden_state().encode();
    for index in 0..file.len() {
        let mut damaged = file.clone();
        damaged[index] ^= 0x40;
        assert!(ControlFile::decode(&damaged).is_err(), "byte {index}");
    }
}

#[test]
fn a_wrong_checksum_says_so() {
    let mut file = golden_state().encode();
    let last = file.len() - 1;
    file[last] ^= 1;
    let text = ControlFile::decode(&file).unwrap_err().to_string();
    assert!(text.contains("safekeeper control file checksum mismatch"), "{text}");
}

#[test]
fn foreign_magic_unknown_versions_and_surplus_bytes_are_refused() {
    let mut foreign = golden_state().encode();
    foreign.truncate(foreign.len() - 4);
    foreign[0] = 0;
    let checksum = crc32c::crc32c(&foreign);
    foreign.extend(checksum.to_le_bytes());
    assert_eq!(ControlFile::decode(&foreign), Err(ControlFileError::BadMagic(0xCAFECE00)));
    assert_eq!(
        ControlFile::decode(&file_with(10, |_| {})),
        Err(ControlFileError::UnknownVersion(10))
    );
    let newest = golden_state().encode();
    let surplus = file_with(8, |out| {
        out.put_slice(&newest[8..newest.len() - 4]);
        out.put_u8(0);
    });
    assert_eq!(ControlFile::decode(&surplus), Err(ControlFileError::Surplus(1)));
}

#[test]
fn the_json_form_spells_positions_and_ids_as_text() {
    let json = serde_json::to_value(evicted_golden_state()).unwrap();
    assert_eq!(json["tenant_id"], "11".repeat(16));
    assert_eq!(json["commit_lsn"], "0/16BA000");
    assert_eq!(json["acceptor_state"]["term_history"][0]["lsn"], "0/16B9188");
    assert_eq!(json["acceptor_state"]["term_history"][0]["term"], 4);
    assert_eq!(json["server"]["wal_seg_size"], 0x1000000);
    assert_eq!(json["proposer_uuid"], "00".repeat(16));
    assert_eq!(json["partial_backup"]["segments"][0]["status"], "Uploaded");
    assert_eq!(json["eviction_state"], serde_json::json!({"Offloaded": "0/16BA000"}));
    assert_eq!(serde_json::to_value(golden_state()).unwrap()["eviction_state"], "Present");
    assert_eq!(serde_json::from_value::<ControlFile>(json).unwrap(), evicted_golden_state());
}

#[test]
fn a_peer_is_a_pair_of_id_and_facts_in_json() {
    let mut state = golden_state();
    let peer =
        PersistedPeerInfo { backup_lsn: Lsn(1), term: 2, flush_lsn: Lsn(3), commit_lsn: Lsn(4) };
    state.peers.push((NodeId(9), peer));
    let json = serde_json::to_value(&state).unwrap();
    assert_eq!(json["peers"][0][0], 9);
    assert_eq!(json["peers"][0][1]["flush_lsn"], "0/3");
    assert_eq!(ControlFile::decode(&state.encode()), Ok(state));
}

proptest! {
    #[test]
    fn any_state_survives_a_round_trip(
        terms in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..6),
        positions in any::<[u64; 6]>(),
        names in proptest::collection::vec(".{0,40}", 0..3),
        offloaded in proptest::option::of(any::<u64>()),
    ) {
        let mut state = golden_state();
        state.acceptor_state.term_history =
            TermHistory(terms.into_iter().map(|(term, lsn)| TermLsn { term, lsn: Lsn(lsn) }).collect());
        let [start, local, commit, backup, horizon, remote] = positions.map(Lsn);
        state.timeline_start_lsn = start;
        state.local_start_lsn = local;
        state.commit_lsn = commit;
        state.backup_lsn = backup;
        state.peer_horizon_lsn = horizon;
        state.remote_consistent_lsn = remote;
        state.partial_backup.segments = names
            .into_iter()
            .map(|name| PartialRemoteSegment {
                status: UploadStatus::Deleting,
                name,
                commit_lsn: commit,
                flush_lsn: local,
                term: 3,
            })
            .collect();
        state.eviction_state =
            offloaded.map_or(EvictionState::Present, |lsn| EvictionState::Offloaded(Lsn(lsn)));
        prop_assert_eq!(ControlFile::decode(&state.encode()), Ok(state));
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        version in 0_u32..12,
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = ControlFile::decode(&body);
        let _ = ControlFile::decode(&file_with(version, |out| out.put_slice(&body)));
    }
}
