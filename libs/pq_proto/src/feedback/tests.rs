use proptest::prelude::*;

use super::*;

fn encoded(feedback: &PageserverFeedback) -> Bytes {
    let mut buffer = BytesMut::new();
    feedback.write(&mut buffer);
    buffer.freeze()
}

#[test]
fn shard_zero_is_not_written() {
    assert_eq!(encoded(&PageserverFeedback::default())[0], 5);
    let second = PageserverFeedback { shard_number: 1, ..Default::default() };
    assert_eq!(encoded(&second)[0], 6);
}

#[test]
fn unknown_keys_are_skipped() {
    let bytes =
        Bytes::from_static(b"\x02later\0\0\0\0\x03xyzps_writelsn\0\0\0\0\x08\0\0\0\0\0\0\0\x07");
    let feedback = PageserverFeedback::parse(bytes).unwrap();
    assert_eq!(feedback.last_received_lsn, Lsn(7));
}

#[test]
fn a_value_of_the_wrong_length_is_refused() {
    let bytes = Bytes::from_static(b"\x01ps_writelsn\0\0\0\0\x04\0\0\0\x07");
    let error = PageserverFeedback::parse(bytes).unwrap_err();
    assert!(error.to_string().contains("ps_writelsn has a value of 4 bytes"), "{error}");
}

#[test]
fn surplus_bytes_are_refused() {
    let mut bytes = encoded(&PageserverFeedback::default()).to_vec();
    bytes.push(0);
    assert!(PageserverFeedback::parse(bytes.into()).is_err());
}

proptest! {
    #[test]
    fn feedback_survives_a_round_trip(
        size: u64, received: u64, disk: u64, remote: u64, time: i64, shard_number: u32,
    ) {
        let feedback = PageserverFeedback {
            current_timeline_size_bytes: size,
            last_received_lsn: Lsn(received),
            disk_consistent_lsn: Lsn(disk),
            remote_consistent_lsn: Lsn(remote),
            reply_time: PgTimestamp(time),
            shard_number,
        };
        prop_assert_eq!(PageserverFeedback::parse(encoded(&feedback)), Ok(feedback));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = PageserverFeedback::parse(bytes.into());
    }
}
