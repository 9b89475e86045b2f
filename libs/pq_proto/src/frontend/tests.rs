use bytes::BufMut;
use proptest::prelude::*;

use super::*;

fn framed(tag: u8, body: &[u8]) -> BytesMut {
    let mut buffer = BytesMut::new();
    buffer.put_u8(tag);
    buffer.put_u32(body.len() as u32 + 4);
    buffer.put_slice(body);
    buffer
}

fn parse(tag: u8, body: &[u8]) -> Result<FeMessage, ProtocolError> {
    FeMessage::parse(&mut framed(tag, body)).map(Option::unwrap)
}

#[test]
fn a_query_keeps_its_nul() {
    assert_eq!(parse(b'Q', b"show all\0"), Ok(FeMessage::Query(Bytes::from_static(b"show all\0"))));
}

#[test]
fn a_length_below_four_is_refused() {
    let mut buffer = BytesMut::from(&[b'Q', 0, 0, 0, 3][..]);
    assert_eq!(FeMessage::parse(&mut buffer), Err(ProtocolError::MessageLength(3)));
}

#[test]
fn an_oversized_length_is_refused_before_its_body_arrives() {
    let mut buffer = BytesMut::from(&[b'd', 0xff, 0xff, 0xff, 0xff][..]);
    assert!(matches!(FeMessage::parse(&mut buffer), Err(ProtocolError::MessageTooLong { .. })));
}

#[test]
fn an_unknown_tag_is_named() {
    let error = parse(b'H', b"").unwrap_err();
    assert!(error.to_string().starts_with("unknown message tag: 72,"), "{error}");
}

#[test]
fn parameters_of_prepared_statements_are_refused() {
    let error = parse(b'P', b"\0select $1\0\0\x01\0\0\0\x19").unwrap_err();
    assert_eq!(error.to_string(), "query params not implemented");
}

#[test]
fn named_portals_are_refused() {
    let error = parse(b'E', b"portal\0\0\0\0\0").unwrap_err();
    assert_eq!(error.to_string(), "named portals not implemented");
}

#[test]
fn a_row_limit_is_refused() {
    let error = parse(b'E', b"\0\0\0\0\x05").unwrap_err();
    assert_eq!(error.to_string(), "row limit in Execute message not implemented");
}

#[test]
fn describing_a_portal_is_refused() {
    assert!(parse(b'D', b"P\0").is_err());
    assert_eq!(parse(b'D', b"S\0"), Ok(FeMessage::Describe));
}

proptest! {
    #[test]
    fn a_message_is_taken_whole_whatever_follows_it(
        body in prop::collection::vec(any::<u8>(), 0..200),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut buffer = framed(b'd', &body);
        buffer.put_slice(&tail);
        let message = FeMessage::parse(&mut buffer).unwrap().unwrap();
        prop_assert_eq!(message, FeMessage::CopyData(body.into()));
        prop_assert_eq!(&buffer[..], &tail[..]);
    }

    #[test]
    fn a_partial_message_leaves_the_buffer_untouched(
        body in prop::collection::vec(any::<u8>(), 1..50), cut in 0usize..50,
    ) {
        let whole = framed(b'd', &body);
        let cut = cut.min(whole.len() - 1);
        let mut buffer = BytesMut::from(&whole[..cut]);
        prop_assert_eq!(FeMessage::parse(&mut buffer), Ok(None));
        prop_assert_eq!(&buffer[..], &whole[..cut]);
    }

    #[test]
    fn garbage_never_panics(tag: u8, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = FeMessage::parse(&mut framed(tag, &body));
    }
}
