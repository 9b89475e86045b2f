use super::*;

fn written(message: BeMessage<'_>) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    message.write(&mut buffer).unwrap();
    buffer.to_vec()
}

#[test]
fn ready_for_query_is_six_bytes() {
    assert_eq!(written(BeMessage::ReadyForQuery), b"Z\0\0\0\x05I");
}

#[test]
fn a_null_column_has_length_minus_one() {
    let row = written(BeMessage::DataRow(&[Some(b"ab"), None]));
    assert_eq!(row, b"D\0\0\0\x10\0\x02\0\0\0\x02ab\xff\xff\xff\xff");
}

#[test]
fn a_refused_encryption_is_a_single_byte() {
    assert_eq!(written(BeMessage::EncryptionResponse(false)), b"N");
}

#[test]
fn an_error_carries_severity_code_and_message() {
    let error = written(BeMessage::internal_error("bad"));
    assert_eq!(error, b"E\0\0\0\x18SERROR\0CXX000\0Mbad\0\0");
}

#[test]
fn a_message_with_embedded_nul_is_refused_and_leaves_no_trace() {
    let mut buffer = BytesMut::from(&b"before"[..]);
    BeMessage::internal_error("a\0b").write(&mut buffer).unwrap_err();
    assert_eq!(&buffer[..], b"before");
}

#[test]
fn a_text_column_is_described_as_oid_25() {
    let description = written(BeMessage::RowDescription(&[RowDescriptor::text("x")]));
    let expected = b"T\0\0\0\x1a\0\x01x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    assert_eq!(description, expected);
}
