//! Consensus messages in both directions: no panic, and what was read is written back alike.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wal_quorum::messages::{AcceptorMessage, ProposerMessage};

fuzz_target!(|data: &[u8]| {
    let payload = Bytes::copy_from_slice(data);
    if let Ok(message) = ProposerMessage::decode(payload.clone()) {
        assert_eq!(ProposerMessage::decode(message.encode()), Ok(message));
    }
    if let Ok(message) = AcceptorMessage::decode(payload) {
        assert_eq!(AcceptorMessage::decode(message.encode()), Ok(message));
    }
});
