//! Byte vectors, strictness and round trips of the protocol messages.

use bytes::{BufMut, Bytes, BytesMut};
use pq_proto::PageserverFeedback;
use proptest::prelude::*;
use utils::{Lsn, NodeId, TenantId, TimelineId};

use super::*;
use crate::term_history::{TermHistory, TermLsn};

const SAMPLE_ID: &str = "9e4c8f36063c6c6e93bc20d65a820f3d";

fn le(value: u64) -> [u8; 8] {
    value.to_le_bytes()
}

fn sample_greeting() -> ProposerGreeting {
    ProposerGreeting {
        pg_version: 160003,
        proposer_uuid: ProposerUuid::default(),
        system_id: 0,
        timeline_id: SAMPLE_ID.parse().unwrap(),
        tenant_id: SAMPLE_ID.parse().unwrap(),
        pg_timeline: 1,
        wal_seg_size: 16 << 20,
    }
}

fn append_header(begin: u64, end: u64) -> AppendRequestHeader {
    AppendRequestHeader {
        term: 5,
        term_start_lsn: Lsn(1),
        begin_lsn: Lsn(begin),
        end_lsn: Lsn(end),
        commit_lsn: Lsn(2),
        truncate_lsn: Lsn(3),
        proposer_uuid: ProposerUuid([4; 16]),
    }
}

#[test]
fn a_proposer_greeting_has_the_layout_of_the_packed_structure() {
    let id = hex::decode(SAMPLE_ID).unwrap();
    let mut expected = vec![0x67, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0x03, 0x71, 0x02, 0];
    expected.extend([0; 24]);
    expected.extend(&id);
    expected.extend(&id);
    expected.extend([1, 0, 0, 0, 0, 0, 0, 1]);
    let encoded = ProposerMessage::Greeting(sample_greeting()).encode();
    assert_eq!(encoded, expected);
    assert_eq!(encoded.len(), 80);
    assert_eq!(ProposerMessage::decode(encoded), Ok(ProposerMessage::Greeting(sample_greeting())));
}

#[test]
fn the_greeting_carries_the_timeline_before_the_tenant() {
    let mut greeting = sample_greeting();
    greeting.timeline_id = TimelineId::from_bytes([1; 16]);
    greeting.tenant_id = TenantId::from_bytes([2; 16]);
    let encoded = ProposerMessage::Greeting(greeting).encode();
    assert_eq!((encoded[40], encoded[56]), (1, 2));
}

#[test]
fn another_protocol_version_is_refused() {
    let mut encoded = ProposerMessage::Greeting(sample_greeting()).encode().to_vec();
    encoded[8] = 3;
    assert_eq!(ProposerMessage::decode(encoded.into()), Err(MessageError::UnsupportedVersion(3)));
}

#[test]
fn an_acceptor_greeting_is_tag_term_and_node() {
    let message = AcceptorMessage::Greeting(AcceptorGreeting { term: 7, node_id: NodeId(3) });
    let expected = [le(0x67), le(7), le(3)].concat();
    assert_eq!(message.encode(), expected);
    assert_eq!(AcceptorMessage::decode(expected.into()), Ok(message));
}

#[test]
fn a_vote_request_is_tag_term_and_proposer() {
    let request = VoteRequest { term: 3, proposer_uuid: ProposerUuid::default() };
    let expected = [le(0x76), le(3), le(0), le(0)].concat();
    assert_eq!(ProposerMessage::VoteRequest(request).encode(), expected);
}

#[test]
fn a_vote_request_may_end_after_the_term() {
    let request = VoteRequest { term: 3, proposer_uuid: ProposerUuid::default() };
    let short = [le(0x76), le(3)].concat();
    assert_eq!(ProposerMessage::decode(short.into()), Ok(ProposerMessage::VoteRequest(request)));
}

#[test]
fn a_vote_response_has_its_history_between_the_positions() {
    let message = AcceptorMessage::VoteResponse(VoteResponse {
        term: 3,
        vote_given: true,
        flush_lsn: Lsn(0x539),
        truncate_lsn: Lsn(0x538),
        term_history: TermHistory::from([(2, Lsn(0x537))]),
        timeline_start_lsn: Lsn(0x536),
    });
    let mut expected = [le(0x76), le(3), le(1), le(0x539), le(0x538)].concat();
    expected.extend(1_u32.to_le_bytes());
    expected.extend([le(2), le(0x537), le(0x536)].concat());
    assert_eq!(expected.len(), 52 + 16);
    assert_eq!(message.encode(), expected);
    assert_eq!(AcceptorMessage::decode(expected.into()), Ok(message));
}

#[test]
fn an_append_request_is_a_header_followed_by_wal() {
    let header = append_header(10, 13);
    let request = AppendRequest { header, wal: Bytes::from_static(b"wal") };
    let mut expected = [le(0x61), le(5), le(1), le(10), le(13), le(2), le(3)].concat();
    expected.extend([4; 16]);
    expected.extend(b"wal");
    assert_eq!(expected.len(), 72 + 3);
    let message = ProposerMessage::AppendRequest(request);
    assert_eq!(message.encode(), expected);
    assert_eq!(ProposerMessage::decode(expected.into()), Ok(message));
}

#[test]
fn an_append_response_may_end_with_pageserver_feedback() {
    let mut response = AppendResponse {
        term: 1,
        flush_lsn: Lsn(2),
        commit_lsn: Lsn(3),
        hs_feedback: HotStandbyFeedback { ts: -4, xmin: 5, catalog_xmin: 6 },
        pageserver_feedback: None,
    };
    let plain = [le(0x61), le(1), le(2), le(3), (-4_i64).to_le_bytes(), le(5), le(6)].concat();
    assert_eq!(AcceptorMessage::AppendResponse(response.clone()).encode(), plain);
    let feedback = PageserverFeedback { last_received_lsn: Lsn(7), ..Default::default() };
    response.pageserver_feedback = Some(feedback);
    let mut encoded_feedback = BytesMut::new();
    feedback.write(&mut encoded_feedback);
    let extended = [plain, encoded_feedback.to_vec()].concat();
    let message = AcceptorMessage::AppendResponse(response);
    assert_eq!(message.encode(), extended);
    assert_eq!(AcceptorMessage::decode(extended.into()), Ok(message));
}

#[test]
fn a_damaged_pageserver_feedback_is_refused() {
    let mut payload = le(0x61).to_vec();
    payload.extend([0; 48]);
    payload.push(9);
    let error = AcceptorMessage::decode(payload.into()).unwrap_err();
    assert!(matches!(error, MessageError::Feedback(_)));
}

#[test]
fn an_acceptor_ignores_the_high_bytes_of_the_tag_and_surplus_bytes() {
    let request =
        ProposerMessage::VoteRequest(VoteRequest { term: 3, proposer_uuid: ProposerUuid([9; 16]) });
    let mut encoded = request.encode().to_vec();
    encoded[7] = 0xFF;
    encoded.push(1);
    assert_eq!(ProposerMessage::decode(encoded.into()), Ok(request));
}

#[test]
fn a_proposer_compares_the_whole_tag() {
    let greeting = [le(0x0100_0067), le(7), le(3)].concat();
    assert_eq!(
        AcceptorMessage::decode(greeting.into()),
        Err(MessageError::UnknownTag(0x0100_0067))
    );
}

#[test]
fn a_proposer_refuses_surplus_bytes() {
    let greeting = [le(0x67), le(7), le(3), le(0)].concat();
    assert_eq!(
        AcceptorMessage::decode(greeting.into()),
        Err(MessageError::Surplus { message: "AcceptorGreeting", surplus: 8 })
    );
}

#[test]
fn append_requests_outside_the_limits_are_refused() {
    let encoded = |header: AppendRequestHeader| {
        let mut out = BytesMut::new();
        header.encode(&mut out);
        out.put_bytes(0, MAX_APPEND_BYTES as usize + 1);
        ProposerMessage::decode(out.freeze())
    };
    assert!(encoded(append_header(0, MAX_APPEND_BYTES)).is_ok());
    assert_eq!(
        encoded(append_header(0, MAX_APPEND_BYTES + 1)),
        Err(MessageError::TooLong(MAX_APPEND_BYTES + 1))
    );
    assert_eq!(
        encoded(append_header(2, 1)),
        Err(MessageError::InvertedRange { begin: Lsn(2), end: Lsn(1) })
    );
}

#[test]
fn a_history_longer_than_the_payload_is_refused_without_allocating() {
    let mut payload = [le(0x65), le(1), le(2)].concat();
    payload.extend(u32::MAX.to_le_bytes());
    let error = ProposerMessage::decode(payload.into()).unwrap_err();
    assert!(matches!(error, MessageError::Truncated { message: "ProposerElected", .. }));
}

#[test]
fn an_unknown_tag_is_named_in_the_error() {
    let error = ProposerMessage::decode(Bytes::copy_from_slice(&le(0x7A))).unwrap_err();
    assert!(error.to_string().contains("unknown proposer-acceptor message tag"));
}

fn any_lsn() -> impl Strategy<Value = Lsn> {
    any::<u64>().prop_map(Lsn)
}

fn any_history() -> impl Strategy<Value = TermHistory> {
    let entry = (any::<u64>(), any_lsn()).prop_map(TermLsn::from);
    proptest::collection::vec(entry, 0..5).prop_map(TermHistory)
}

fn any_proposer_message() -> impl Strategy<Value = ProposerMessage> {
    let elected = (any::<u64>(), any_lsn(), any_history(), any_lsn()).prop_map(
        |(term, start_streaming_at, term_history, timeline_start_lsn)| {
            ProposerMessage::Elected(ProposerElected {
                term,
                start_streaming_at,
                term_history,
                timeline_start_lsn,
            })
        },
    );
    let append = (0..u64::MAX / 2, proptest::collection::vec(any::<u8>(), 0..300)).prop_map(
        |(begin, wal)| {
            let header = append_header(begin, begin + wal.len() as u64);
            ProposerMessage::AppendRequest(AppendRequest { header, wal: wal.into() })
        },
    );
    prop_oneof![elected, append]
}

fn any_acceptor_message() -> impl Strategy<Value = AcceptorMessage> {
    (any::<u64>(), any::<bool>(), any_lsn(), any_lsn(), any_history(), any_lsn()).prop_map(
        |(term, vote_given, flush_lsn, truncate_lsn, term_history, timeline_start_lsn)| {
            AcceptorMessage::VoteResponse(VoteResponse {
                term,
                vote_given,
                flush_lsn,
                truncate_lsn,
                term_history,
                timeline_start_lsn,
            })
        },
    )
}

proptest! {
    #[test]
    fn every_proposer_message_survives_a_round_trip(message in any_proposer_message()) {
        prop_assert_eq!(ProposerMessage::decode(message.encode()), Ok(message));
    }

    #[test]
    fn every_acceptor_message_survives_a_round_trip(message in any_acceptor_message()) {
        prop_assert_eq!(AcceptorMessage::decode(message.encode()), Ok(message));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        tag in prop::sample::select(vec![b'g', b'v', b'e', b'a', 0]),
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut payload = le(u64::from(tag)).to_vec();
        payload.extend(rest);
        let _ = ProposerMessage::decode(payload.clone().into());
        let _ = AcceptorMessage::decode(payload.into());
    }
}
