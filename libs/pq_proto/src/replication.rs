//! Payloads of physical replication, as they travel inside CopyData: what a WAL sender sends
//! and what a standby answers. All integers are big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use utils::Lsn;

use crate::error::ProtocolError;
use crate::feedback::PageserverFeedback;
use crate::framing::expect_end;
use crate::timestamp::PgTimestamp;

/// A stretch of WAL (`w`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XLogData {
    /// Position of the first byte.
    pub start_lsn: Lsn,
    /// The sender's current end of WAL.
    pub wal_end: Lsn,
    /// When it was sent.
    pub timestamp: PgTimestamp,
    /// The bytes.
    pub data: Bytes,
}

/// A sign of life from the sender (`k`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrimaryKeepalive {
    /// The sender's current end of WAL.
    pub wal_end: Lsn,
    /// When it was sent.
    pub timestamp: PgTimestamp,
    /// The sender wants a [`StandbyReply`] at once.
    pub reply_requested: bool,
}

/// What a WAL sender sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalSenderMessage {
    /// `w`.
    XLogData(XLogData),
    /// `k`.
    Keepalive(PrimaryKeepalive),
}

/// Positions a standby reports (`r`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandbyReply {
    /// Written up to here.
    pub write_lsn: Lsn,
    /// Durable up to here.
    pub flush_lsn: Lsn,
    /// Replayed up to here.
    pub apply_lsn: Lsn,
    /// When it was sent.
    pub timestamp: PgTimestamp,
    /// The standby wants a keepalive at once.
    pub reply_requested: bool,
}

/// Oldest transactions that queries on standbys still need (`h`). Ids are full 64-bit
/// transaction ids, the epoch in the high half; 0 is invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HotStandbyFeedback {
    /// When it was sent.
    pub timestamp: PgTimestamp,
    /// For data.
    pub xmin: u64,
    /// For catalogs.
    pub catalog_xmin: u64,
}

/// What a standby or a pageserver sends back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StandbyMessage {
    /// `r`.
    Reply(StandbyReply),
    /// `h`.
    HotStandbyFeedback(HotStandbyFeedback),
    /// `z`.
    PageserverFeedback(PageserverFeedback),
    /// Any other first byte; receivers warn and go on.
    Unknown(u8),
}

impl XLogData {
    /// Appends the payload.
    pub fn write(&self, buffer: &mut BytesMut) {
        Self::write_header(buffer, self.start_lsn, self.wal_end, self.timestamp);
        buffer.put_slice(&self.data);
    }

    /// Appends everything before the WAL bytes, for senders that read WAL into the buffer.
    pub fn write_header(buffer: &mut BytesMut, start: Lsn, wal_end: Lsn, timestamp: PgTimestamp) {
        buffer.put_u8(b'w');
        buffer.put_u64(start.0);
        buffer.put_u64(wal_end.0);
        buffer.put_i64(timestamp.0);
    }

    /// The position after the last byte.
    pub fn end_lsn(&self) -> Lsn {
        Lsn(self.start_lsn.0.saturating_add(self.data.len() as u64))
    }
}

impl PrimaryKeepalive {
    /// Appends the payload.
    pub fn write(&self, buffer: &mut BytesMut) {
        buffer.put_u8(b'k');
        buffer.put_u64(self.wal_end.0);
        buffer.put_i64(self.timestamp.0);
        buffer.put_u8(u8::from(self.reply_requested));
    }
}

impl WalSenderMessage {
    /// Reads one CopyData payload.
    pub fn parse(payload: Bytes) -> Result<Self, ProtocolError> {
        let name = "replication stream message";
        let truncated = |_| ProtocolError::truncated(name);
        let mut body = payload;
        match body.try_get_u8().map_err(truncated)? {
            b'w' => {
                let start_lsn = Lsn(body.try_get_u64().map_err(truncated)?);
                let wal_end = Lsn(body.try_get_u64().map_err(truncated)?);
                let timestamp = PgTimestamp(body.try_get_i64().map_err(truncated)?);
                Ok(Self::XLogData(XLogData { start_lsn, wal_end, timestamp, data: body }))
            }
            b'k' => {
                let keepalive = PrimaryKeepalive {
                    wal_end: Lsn(body.try_get_u64().map_err(truncated)?),
                    timestamp: PgTimestamp(body.try_get_i64().map_err(truncated)?),
                    reply_requested: body.try_get_u8().map_err(truncated)? != 0,
                };
                Ok(Self::Keepalive(keepalive))
            }
            kind => Err(ProtocolError::malformed(name, format!("unknown first byte {kind:#04x}"))),
        }
    }
}

impl StandbyReply {
    /// Appends the payload.
    pub fn write(&self, buffer: &mut BytesMut) {
        buffer.put_u8(b'r');
        buffer.put_u64(self.write_lsn.0);
        buffer.put_u64(self.flush_lsn.0);
        buffer.put_u64(self.apply_lsn.0);
        buffer.put_i64(self.timestamp.0);
        buffer.put_u8(u8::from(self.reply_requested));
    }

    fn parse(mut body: Bytes) -> Result<Self, ProtocolError> {
        let name = "standby status update";
        let truncated = |_| ProtocolError::truncated(name);
        let reply = Self {
            write_lsn: Lsn(body.try_get_u64().map_err(truncated)?),
            flush_lsn: Lsn(body.try_get_u64().map_err(truncated)?),
            apply_lsn: Lsn(body.try_get_u64().map_err(truncated)?),
            timestamp: PgTimestamp(body.try_get_i64().map_err(truncated)?),
            reply_requested: body.try_get_u8().map_err(truncated)? != 0,
        };
        expect_end(&body, name)?;
        Ok(reply)
    }
}

impl HotStandbyFeedback {
    /// Appends the payload.
    pub fn write(&self, buffer: &mut BytesMut) {
        buffer.put_u8(b'h');
        buffer.put_i64(self.timestamp.0);
        buffer.put_u64(swap_halves(self.xmin));
        buffer.put_u64(swap_halves(self.catalog_xmin));
    }

    fn parse(mut body: Bytes) -> Result<Self, ProtocolError> {
        let name = "hot standby feedback";
        let truncated = |_| ProtocolError::truncated(name);
        let feedback = Self {
            timestamp: PgTimestamp(body.try_get_i64().map_err(truncated)?),
            xmin: swap_halves(body.try_get_u64().map_err(truncated)?),
            catalog_xmin: swap_halves(body.try_get_u64().map_err(truncated)?),
        };
        expect_end(&body, name)?;
        Ok(feedback)
    }
}

/// The wire has the transaction id before its epoch, a full id the other way round.
fn swap_halves(xid: u64) -> u64 {
    xid.rotate_left(32)
}

impl StandbyMessage {
    /// Reads one CopyData payload.
    pub fn parse(payload: Bytes) -> Result<Self, ProtocolError> {
        let name = "standby message";
        let mut body = payload;
        match body.try_get_u8().map_err(|_| ProtocolError::truncated(name))? {
            b'r' => StandbyReply::parse(body).map(Self::Reply),
            b'h' => HotStandbyFeedback::parse(body).map(Self::HotStandbyFeedback),
            b'z' => {
                let length = body.try_get_u64().map_err(|_| ProtocolError::truncated(name))?;
                if length != body.len() as u64 {
                    let reason = format!("announces {length} bytes but has {}", body.len());
                    return Err(ProtocolError::malformed("pageserver status update", reason));
                }
                PageserverFeedback::parse(body).map(Self::PageserverFeedback)
            }
            kind => Ok(Self::Unknown(kind)),
        }
    }

    /// Appends the payload.
    pub fn write(&self, buffer: &mut BytesMut) {
        match self {
            Self::Reply(reply) => reply.write(buffer),
            Self::HotStandbyFeedback(feedback) => feedback.write(buffer),
            Self::PageserverFeedback(feedback) => {
                let mut body = BytesMut::new();
                feedback.write(&mut body);
                buffer.put_u8(b'z');
                buffer.put_u64(body.len() as u64);
                buffer.put_slice(&body);
            }
            Self::Unknown(kind) => buffer.put_u8(*kind),
        }
    }
}

#[cfg(test)]
mod tests;
