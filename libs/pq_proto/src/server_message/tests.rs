use proptest::prelude::*;

use super::*;
use crate::backend::{BeMessage, RowDescriptor};

fn relay(message: BeMessage<'_>) -> ServerMessage {
    let mut buffer = BytesMut::new();
    message.write(&mut buffer).unwrap();
    let parsed = ServerMessage::parse(&mut buffer).unwrap().unwrap();
    assert!(buffer.is_empty());
    parsed
}

#[test]
fn a_client_reads_what_a_server_writes() {
    assert_eq!(
        relay(BeMessage::AuthenticationOk),
        ServerMessage::Authentication(Authentication::Ok)
    );
    assert_eq!(relay(BeMessage::CopyBothResponse), ServerMessage::CopyBothResponse);
    assert_eq!(relay(BeMessage::ReadyForQuery), ServerMessage::ReadyForQuery);
    assert_eq!(
        relay(BeMessage::RowDescription(&[RowDescriptor::text("a"), RowDescriptor::int4("b")])),
        ServerMessage::RowDescription(vec!["a".into(), "b".into()])
    );
}

#[test]
fn an_error_report_keeps_code_and_text() {
    let ServerMessage::ErrorResponse(report) =
        relay(BeMessage::ErrorResponse { sqlstate: "57P01", message: "going away" })
    else {
        panic!("not an error");
    };
    assert_eq!(report.sqlstate, "57P01");
    assert_eq!(report.to_string(), "ERROR: going away (SQLSTATE 57P01)");
}

#[test]
fn a_sasl_offer_lists_its_mechanisms() {
    let mut body = BytesMut::from(&b"R\0\0\0\x1d\0\0\0\x0aSCRAM-SHA-256\0PLAIN\0\0"[..]);
    body[4] = (body.len() - 1) as u8;
    let message = ServerMessage::parse(&mut body).unwrap().unwrap();
    let offer = Authentication::Sasl(vec!["SCRAM-SHA-256".into(), "PLAIN".into()]);
    assert_eq!(message, ServerMessage::Authentication(offer));
}

proptest! {
    #[test]
    fn rows_survive_a_round_trip(
        columns in prop::collection::vec(
            prop::option::of(prop::collection::vec(any::<u8>(), 0..30)), 0..6)
    ) {
        let borrowed: Vec<Option<&[u8]>> = columns.iter().map(|c| c.as_deref()).collect();
        let expected = columns.iter().cloned().map(|c| c.map(Bytes::from)).collect();
        prop_assert_eq!(relay(BeMessage::DataRow(&borrowed)), ServerMessage::DataRow(expected));
    }

    #[test]
    fn garbage_never_panics(tag: u8, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut buffer = BytesMut::from(&[tag][..]);
        buffer.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        buffer.extend_from_slice(&body);
        let _ = ServerMessage::parse(&mut buffer);
    }
}
