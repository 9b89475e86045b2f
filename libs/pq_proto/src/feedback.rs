//! What a pageserver shard tells safekeepers, and through them the proposer, about its progress.
//!
//! Self-describing: a count byte, then per key a NUL-terminated name, an i32 length and the
//! value, all big-endian. Receivers skip keys they do not know.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use utils::Lsn;

use crate::error::ProtocolError;
use crate::framing::{expect_end, take_bytes, take_cstr};
use crate::timestamp::PgTimestamp;

const NAME: &str = "PageserverFeedback";

/// Progress of one shard of a timeline on a pageserver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageserverFeedback {
    /// Logical size of the timeline in bytes; 0 from shards other than the first.
    pub current_timeline_size_bytes: u64,
    /// WAL received and ingested into memory up to here.
    pub last_received_lsn: Lsn,
    /// WAL whose effects are on the pageserver's disk.
    pub disk_consistent_lsn: Lsn,
    /// WAL whose effects are in remote storage; safekeepers may drop it.
    pub remote_consistent_lsn: Lsn,
    /// When the shard wrote this.
    pub reply_time: PgTimestamp,
    /// The shard's number; 0 for an unsharded tenant.
    pub shard_number: u32,
}

impl PageserverFeedback {
    /// Appends the encoding.
    pub fn write(&self, buffer: &mut BytesMut) {
        let keys = if self.shard_number > 0 { 6 } else { 5 };
        buffer.put_u8(keys);
        put_u64(buffer, b"current_timeline_size", self.current_timeline_size_bytes);
        put_u64(buffer, b"ps_writelsn", self.last_received_lsn.0);
        put_u64(buffer, b"ps_flushlsn", self.disk_consistent_lsn.0);
        put_u64(buffer, b"ps_applylsn", self.remote_consistent_lsn.0);
        put_key(buffer, b"ps_replytime", &self.reply_time.0.to_be_bytes());
        if self.shard_number > 0 {
            put_key(buffer, b"shard_number", &self.shard_number.to_be_bytes());
        }
    }

    /// Reads an encoding that must fill `bytes` to the end.
    pub fn parse(bytes: Bytes) -> Result<Self, ProtocolError> {
        let mut body = bytes;
        let mut feedback = Self::default();
        let keys = body.try_get_u8().map_err(|_| ProtocolError::truncated(NAME))?;
        for _ in 0..keys {
            let key = take_cstr(&mut body, NAME)?;
            let length = body.try_get_i32().map_err(|_| ProtocolError::truncated(NAME))?;
            let length = usize::try_from(length).map_err(|_| {
                ProtocolError::malformed(NAME, format!("negative value length {length}"))
            })?;
            let value = take_bytes(&mut body, length, NAME)?;
            feedback.set(&key, &value)?;
        }
        expect_end(&body, NAME)?;
        Ok(feedback)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ProtocolError> {
        match key {
            b"current_timeline_size" => self.current_timeline_size_bytes = get_u64(key, value)?,
            b"ps_writelsn" | b"last_received_lsn" => {
                self.last_received_lsn = Lsn(get_u64(key, value)?);
            }
            b"ps_flushlsn" | b"disk_consistent_lsn" => {
                self.disk_consistent_lsn = Lsn(get_u64(key, value)?);
            }
            b"ps_applylsn" | b"remote_consistent_lsn" => {
                self.remote_consistent_lsn = Lsn(get_u64(key, value)?);
            }
            b"ps_replytime" | b"replytime" => {
                self.reply_time = PgTimestamp(get_u64(key, value)?.cast_signed());
            }
            b"shard_number" => {
                let bytes = value.try_into().map_err(|_| wrong_length(key, value))?;
                self.shard_number = u32::from_be_bytes(bytes);
            }
            // A newer pageserver may know more keys; the format exists to let us skip them.
            _ => {}
        }
        Ok(())
    }
}

fn put_key(buffer: &mut BytesMut, key: &[u8], value: &[u8]) {
    buffer.put_slice(key);
    buffer.put_u8(0);
    buffer.put_i32(value.len() as i32); // 4 or 8
    buffer.put_slice(value);
}

fn put_u64(buffer: &mut BytesMut, key: &[u8], value: u64) {
    put_key(buffer, key, &value.to_be_bytes());
}

fn get_u64(key: &[u8], value: &[u8]) -> Result<u64, ProtocolError> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| wrong_length(key, value))
}

fn wrong_length(key: &[u8], value: &[u8]) -> ProtocolError {
    let key = String::from_utf8_lossy(key);
    ProtocolError::malformed(NAME, format!("key {key} has a value of {} bytes", value.len()))
}

#[cfg(test)]
mod tests;
