use super::*;

const TAG: PageTag = PageTag {
    rel: RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::VisibilityMap },
    block: 7,
};

fn all(bytes: &[u8]) -> Vec<Message> {
    let mut input = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = take_message(&mut input).unwrap() {
        messages.push(message);
    }
    assert!(input.is_empty());
    messages
}

#[test]
fn a_request_reads_back_as_its_messages() {
    let page = Bytes::from(vec![9; BLCKSZ]);
    let record = Bytes::from_static(b"a record");
    let request = encode_request(TAG, Some(&page), &[(Lsn(0x1_0000_0010), record.clone())]);
    let expected = [
        Message::Begin(TAG),
        Message::PushPage(TAG, page),
        Message::ApplyRecord(Lsn(0x1_0000_0010), record),
        Message::GetPage(TAG),
    ];
    assert_eq!(all(&request), expected);
}

#[test]
fn the_bytes_are_those_of_the_description() {
    let request = encode_request(TAG, None, &[(Lsn(0x10), Bytes::from_static(b"rec"))]);
    let tag = "02".to_owned() + "0000067f" + "00000005" + "00004000" + "00000007";
    let expected =
        format!("42{:08x}{tag}41{:08x}{:016x}726563", 21, 15, 0x10) + &format!("47{:08x}{tag}", 21);
    let hex: String = request.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);
}

#[test]
fn a_message_that_is_not_all_there_is_waited_for() {
    let request = encode_request(TAG, None, &[]);
    for end in 0..HEADER_BYTES + PAGE_TAG_BYTES {
        let mut input = BytesMut::from(&request[..end]);
        assert_eq!(take_message(&mut input), Ok(None));
        assert_eq!(input.len(), end, "nothing was consumed");
    }
}

#[test]
fn an_unknown_tag_is_refused_at_its_first_byte() {
    let mut input = BytesMut::from(&b"X"[..]);
    assert_eq!(take_message(&mut input), Err(ProtocolError::UnknownTag(b'X')));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    for (tag, length) in [(BEGIN, 20), (PUSH_PAGE, 21), (APPLY_RECORD, 12), (GET_PAGE, 0)] {
        let mut input = BytesMut::new();
        input.put_u8(tag);
        input.put_u32(length);
        input.put_bytes(0, length as usize);
        assert!(matches!(take_message(&mut input), Err(ProtocolError::BadLength { .. })), "{tag}");
    }
}

#[test]
fn an_absurd_length_is_refused_without_reserving_memory() {
    let mut input = BytesMut::from(&[APPLY_RECORD, 0xFF, 0xFF, 0xFF, 0xFF][..]);
    assert!(matches!(take_message(&mut input), Err(ProtocolError::BadLength { .. })));
}

#[test]
fn an_unknown_fork_is_refused() {
    let mut request = encode_request(TAG, None, &[]);
    request[HEADER_BYTES] = 9;
    let mut input = BytesMut::from(&request[..]);
    assert_eq!(take_message(&mut input), Err(ProtocolError::UnknownFork(9)));
}
