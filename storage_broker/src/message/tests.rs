use proptest::prelude::*;
use prost::Message as _;
use tonic::Code;

use super::*;
use crate::proto;

fn refusal(wire: TypedMessage) -> String {
    let status = Message::from_wire(wire).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    status.message().to_owned()
}

#[test]
fn each_missing_content_is_named() {
    for (message_type, field) in [
        (MessageType::SafekeeperTimelineInfo, "safekeeper_timeline_info"),
        (MessageType::SafekeeperDiscoveryRequest, "safekeeper_discovery_request"),
        (MessageType::SafekeeperDiscoveryResponse, "safekeeper_discovery_response"),
    ] {
        let wire = TypedMessage { r#type: message_type.into(), ..Default::default() };
        assert_eq!(refusal(wire), format!("missing {field}"));
    }
}

#[test]
fn unknown_types_are_refused_by_number() {
    for number in [0, 1, 17, -1] {
        let wire = TypedMessage { r#type: number, ..Default::default() };
        assert_eq!(refusal(wire), format!("invalid message type: {number}"));
    }
}

#[test]
fn a_message_survives_the_round_trip() {
    let wire = TypedMessage {
        r#type: MessageType::SafekeeperDiscoveryResponse.into(),
        safekeeper_discovery_response: Some(SafekeeperDiscoveryResponse {
            safekeeper_id: 3,
            commit_lsn: 77,
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(Message::from_wire(wire.clone()).unwrap().into_wire(), wire);
}

#[test]
fn ids_of_a_wrong_length_are_refused_by_name() {
    let id = |length: usize| vec![7u8; length].into();
    let refusal = |tenant, timeline| {
        let message = Message::from(SafekeeperTimelineInfo {
            tenant_timeline_id: Some(proto::TenantTimelineId {
                tenant_id: id(tenant),
                timeline_id: id(timeline),
            }),
            ..Default::default()
        });
        message.ttid().map_err(|status| status.message().to_owned())
    };
    assert!(refusal(15, 16).unwrap_err().starts_with("malformed tenant_id: "));
    assert!(refusal(16, 0).unwrap_err().starts_with("malformed timeline_id: "));
    assert!(refusal(16, 16).unwrap().is_some());
}

#[test]
fn a_message_need_not_name_a_timeline() {
    assert_eq!(Message::from(SafekeeperTimelineInfo::default()).ttid().unwrap(), None);
}

/// Wire bytes that get past the framing more often than random ones.
fn wire_bytes() -> impl Strategy<Value = Vec<u8>> {
    let ids =
        (prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 14..18));
    (any::<i32>(), 0..6i32, ids, any::<u64>(), any::<bool>(), any::<bool>()).prop_map(
        |(wild, tame, (tenant_id, timeline_id), commit_lsn, use_wild, with_id)| {
            let ttid = proto::TenantTimelineId {
                tenant_id: tenant_id.into(),
                timeline_id: timeline_id.into(),
            };
            TypedMessage {
                r#type: if use_wild { wild } else { tame },
                safekeeper_timeline_info: Some(SafekeeperTimelineInfo {
                    tenant_timeline_id: with_id.then_some(ttid),
                    commit_lsn,
                    ..Default::default()
                }),
                ..Default::default()
            }
            .encode_to_vec()
        },
    )
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), wire_bytes()],
    ) {
        if let Ok(wire) = TypedMessage::decode(bytes.as_slice())
            && let Ok(message) = Message::from_wire(wire)
        {
            let _ = message.ttid();
            let encoded = message.clone().into_wire().encode_to_vec();
            let again = Message::from_wire(TypedMessage::decode(encoded.as_slice()).unwrap());
            prop_assert_eq!(again.unwrap(), message);
        }
    }
}
