//! What a client may send: startup packets, messages, replication replies.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use pq_proto::{FeMessage, PageserverFeedback, StandbyMessage, StartupPacket};

fuzz_target!(|data: &[u8]| {
    let mut buffer = BytesMut::from(data);
    if let Ok(Some(packet)) = StartupPacket::parse(&mut buffer) {
        if let StartupPacket::StartupMessage { parameters, .. } = &packet {
            // An empty word, such as a lone backslash gives, cannot be written.
            let mut options = parameters.options();
            options.retain(|option| !option.is_empty());
            let joined = pq_proto::startup::join_options(&options);
            assert_eq!(pq_proto::startup::split_options(&joined), options);
        }
        let mut written = BytesMut::new();
        if packet.write(&mut written).is_ok() {
            assert_eq!(StartupPacket::parse(&mut written), Ok(Some(packet)));
        }
    }
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(message)) = FeMessage::parse(&mut buffer) {
        let _ = message.name();
    }
    let payload = Bytes::copy_from_slice(data);
    if let Ok(message) = StandbyMessage::parse(payload.clone()) {
        let mut written = BytesMut::new();
        message.write(&mut written);
        assert_eq!(StandbyMessage::parse(written.freeze()), Ok(message));
    }
    if let Ok(feedback) = PageserverFeedback::parse(payload) {
        let mut written = BytesMut::new();
        feedback.write(&mut written);
        assert_eq!(PageserverFeedback::parse(written.freeze()), Ok(feedback));
    }
});
