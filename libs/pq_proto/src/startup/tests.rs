use proptest::prelude::*;

use super::*;

fn parse(bytes: &[u8]) -> Result<Option<StartupPacket>, ProtocolError> {
    StartupPacket::parse(&mut BytesMut::from(bytes))
}

fn startup(pairs: &[(&str, &str)]) -> StartupPacket {
    let parameters = StartupParameters::from_pairs(pairs.iter().copied());
    StartupPacket::StartupMessage { major: 3, minor: 0, parameters }
}

#[test]
fn an_ssl_request_is_recognised() {
    assert_eq!(parse(&[0, 0, 0, 8, 4, 210, 22, 47]), Ok(Some(StartupPacket::SslRequest)));
}

#[test]
fn a_startup_message_without_parameters_is_accepted() {
    assert_eq!(parse(&[0, 0, 0, 9, 0, 3, 0, 0, 0]), Ok(Some(startup(&[]))));
}

#[test]
fn an_incomplete_packet_waits_for_more_bytes() {
    assert_eq!(parse(&[0, 0, 0]), Ok(None));
    assert_eq!(parse(&[0, 0, 0, 9, 0, 3, 0, 0]), Ok(None));
}

#[test]
fn lengths_outside_the_range_are_refused() {
    assert_eq!(parse(&[0, 0, 0, 7]), Err(ProtocolError::StartupLength(7)));
    assert_eq!(parse(&10_001u32.to_be_bytes()), Err(ProtocolError::StartupLength(10_001)));
}

#[test]
fn an_http_request_is_refused_as_a_bad_length() {
    let error = parse(b"GET / HTTP/1.1\r\n").unwrap_err();
    assert!(error.to_string().contains("invalid startup packet message length"), "{error}");
}

#[test]
fn an_unknown_request_code_is_refused() {
    let error = parse(&[0, 0, 0, 8, 4, 210, 0, 1]).unwrap_err();
    assert_eq!(error.to_string(), "Unrecognized request code 1");
}

#[test]
fn a_parameter_without_value_is_refused() {
    assert!(parse(b"\0\0\0\x0e\0\x03\0\0user\0\0").is_err());
}

#[test]
fn a_missing_final_terminator_is_named() {
    let error = parse(b"\0\0\0\x10\0\x03\0\0user\0abc").unwrap_err();
    assert!(error.to_string().contains("missing null terminator"), "{error}");
}

#[test]
fn an_empty_value_survives() {
    let packet = startup(&[("user", "u"), ("options", "")]);
    let mut buffer = BytesMut::new();
    packet.write(&mut buffer).unwrap();
    assert_eq!(StartupPacket::parse(&mut buffer), Ok(Some(packet)));
}

#[test]
fn options_are_split_at_unescaped_blanks() {
    assert_eq!(split_options(r"-c  a=b\ c d\\e "), ["-c", "a=b c", r"d\e"]);
}

proptest! {
    #[test]
    fn startup_packets_survive_a_round_trip(
        pairs in prop::collection::btree_map("[a-z_]{1,12}", "[^\0]{0,30}", 0..6)
    ) {
        let packet = StartupPacket::StartupMessage {
            major: 3, minor: 0, parameters: StartupParameters::from_pairs(pairs),
        };
        let mut buffer = BytesMut::new();
        packet.write(&mut buffer).unwrap();
        prop_assert_eq!(StartupPacket::parse(&mut buffer), Ok(Some(packet)));
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn joined_options_split_into_the_same_words(
        words in prop::collection::vec("[^\0]{1,10}", 0..5)
    ) {
        prop_assert_eq!(split_options(&join_options(&words)), words);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes);
        let mut framed = ((bytes.len() + 4) as u32).to_be_bytes().to_vec();
        framed.extend(&bytes);
        let _ = parse(&framed);
    }
}
