//! What a server may send: messages and the replication stream.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use pq_proto::{ServerMessage, WalSenderMessage};

fuzz_target!(|data: &[u8]| {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(message)) = ServerMessage::parse(&mut buffer) {
        let _ = message.name();
    }
    if let Ok(message) = WalSenderMessage::parse(Bytes::copy_from_slice(data)) {
        let mut written = BytesMut::new();
        match &message {
            WalSenderMessage::XLogData(wal) => {
                let _ = wal.end_lsn();
                wal.write(&mut written);
            }
            WalSenderMessage::Keepalive(keepalive) => keepalive.write(&mut written),
        }
        assert_eq!(WalSenderMessage::parse(written.freeze()), Ok(message));
    }
});
