use proptest::prelude::*;

use super::*;

#[test]
fn a_status_update_has_34_bytes() {
    let mut buffer = BytesMut::new();
    StandbyReply::default().write(&mut buffer);
    assert_eq!(buffer.len(), 34);
}

#[test]
fn a_transaction_id_precedes_its_epoch_on_the_wire() {
    let mut buffer = BytesMut::new();
    HotStandbyFeedback { xmin: 0x0000_0001_0000_02bc, ..Default::default() }.write(&mut buffer);
    assert_eq!(&buffer[9..17], b"\0\0\x02\xbc\0\0\0\x01");
}

#[test]
fn an_unknown_standby_message_is_reported_by_its_first_byte() {
    assert_eq!(StandbyMessage::parse(Bytes::from_static(b"q1")), Ok(StandbyMessage::Unknown(b'q')));
}

#[test]
fn surplus_bytes_after_a_status_update_are_refused() {
    let mut buffer = BytesMut::new();
    StandbyReply::default().write(&mut buffer);
    buffer.put_u8(0);
    assert!(StandbyMessage::parse(buffer.freeze()).is_err());
}

#[test]
fn a_pageserver_update_with_a_wrong_length_is_refused() {
    let bytes = Bytes::from_static(b"z\0\0\0\0\0\0\0\x09\0");
    assert!(StandbyMessage::parse(bytes).is_err());
}

fn standby_message() -> impl Strategy<Value = StandbyMessage> {
    let reply = any::<(u64, u64, u64, i64, bool)>().prop_map(|(write, flush, apply, time, ask)| {
        StandbyMessage::Reply(StandbyReply {
            write_lsn: Lsn(write),
            flush_lsn: Lsn(flush),
            apply_lsn: Lsn(apply),
            timestamp: PgTimestamp(time),
            reply_requested: ask,
        })
    });
    let feedback = any::<(i64, u64, u64)>().prop_map(|(time, xmin, catalog_xmin)| {
        let timestamp = PgTimestamp(time);
        StandbyMessage::HotStandbyFeedback(HotStandbyFeedback { timestamp, xmin, catalog_xmin })
    });
    let pageserver = any::<(u64, u32)>().prop_map(|(lsn, shard_number)| {
        StandbyMessage::PageserverFeedback(PageserverFeedback {
            last_received_lsn: Lsn(lsn),
            shard_number,
            ..Default::default()
        })
    });
    prop_oneof![reply, feedback, pageserver]
}

proptest! {
    #[test]
    fn standby_messages_survive_a_round_trip(message in standby_message()) {
        let mut buffer = BytesMut::new();
        message.write(&mut buffer);
        prop_assert_eq!(StandbyMessage::parse(buffer.freeze()), Ok(message));
    }

    #[test]
    fn wal_survives_a_round_trip(
        start: u64, end: u64, time: i64, data in prop::collection::vec(any::<u8>(), 0..100)
    ) {
        let message = XLogData {
            start_lsn: Lsn(start),
            wal_end: Lsn(end),
            timestamp: PgTimestamp(time),
            data: data.into(),
        };
        let mut buffer = BytesMut::new();
        message.write(&mut buffer);
        let parsed = WalSenderMessage::parse(buffer.freeze());
        prop_assert_eq!(parsed, Ok(WalSenderMessage::XLogData(message)));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = StandbyMessage::parse(Bytes::from(bytes.clone()));
        let _ = WalSenderMessage::parse(Bytes::from(bytes));
    }
}
