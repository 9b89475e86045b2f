//! The 24-byte header of a WAL record, and records as whole byte strings.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use utils::Lsn;

use crate::checkpoint::CheckPoint;
use crate::pg_constants::{rmgr, xlog};
use crate::reader::{LeReader, TooShort};

/// Length of a record header in bytes.
pub const RECORD_HEADER_SIZE: usize = 24;
/// Records longer than this are never written (`XLogRecordMaxSize`).
pub const RECORD_MAX_SIZE: u32 = 1020 * 1024 * 1024;

/// Header item: main data of up to 255 bytes.
const DATA_SHORT: u8 = 255;
/// Header item: main data of any length.
const DATA_LONG: u8 = 254;
/// Header item: the replication origin.
const ORIGIN: u8 = 253;

/// A parsed record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Length of the whole record, header included.
    pub total_length: u32,
    /// Transaction, 0 if none.
    pub xid: u32,
    /// Start of the record before.
    pub prev: Lsn,
    /// Operation and flags.
    pub info: u8,
    /// Resource manager.
    pub rmid: u8,
    /// CRC-32C of the body, then of the first 20 header bytes.
    pub crc: u32,
}

impl RecordHeader {
    /// Reads a header from the front of `bytes`.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<RecordHeader, TooShort> {
        let mut reader = LeReader::new(bytes);
        let header = RecordHeader {
            total_length: reader.u32("record length")?,
            xid: reader.u32("transaction")?,
            prev: Lsn(reader.u64("previous record")?),
            info: reader.u8("info")?,
            rmid: reader.u8("resource manager")?,
            crc: {
                reader.skip(2, "padding")?;
                reader.u32("CRC")?
            },
        };
        Ok(header)
    }

    /// Whether this record makes the rest of its segment unused.
    pub fn is_switch(&self) -> bool {
        self.rmid == rmgr::XLOG && self.info == xlog::SWITCH
    }
}

/// The CRC that belongs into the header of this whole record; 0 if it is shorter than a header.
pub fn record_crc(record: &[u8]) -> u32 {
    let Some((header, body)) = record.split_first_chunk::<RECORD_HEADER_SIZE>() else {
        return 0;
    };
    let covered: &[u8] = header.get(..20).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c(body), covered)
}

/// A record to be written: everything but its place in the WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// Transaction, 0 if none.
    pub xid: u32,
    /// Operation and flags.
    pub info: u8,
    /// Resource manager.
    pub rmid: u8,
    /// All bytes after the header: header items and data.
    pub body: Vec<u8>,
}

impl RawRecord {
    /// A record without blocks.
    pub fn with_main_data(rmid: u8, info: u8, xid: u32, data: &[u8]) -> RawRecord {
        let mut body = Vec::with_capacity(data.len() + 5);
        match u8::try_from(data.len()) {
            Ok(0) => {}
            Ok(length) => body.extend_from_slice(&[DATA_SHORT, length]),
            Err(_) => {
                body.push(DATA_LONG);
                body.extend_from_slice(&(data.len() as u32).to_le_bytes());
            }
        }
        body.extend_from_slice(data);
        RawRecord { xid, info, rmid, body }
    }

    /// The same record with a replication origin; with 0 it has none.
    pub fn with_origin(mut self, origin: u16) -> RawRecord {
        if origin != 0 {
            let [low, high] = origin.to_le_bytes();
            self.body.splice(0..0, [ORIGIN, low, high]);
        }
        self
    }

    /// A shutdown checkpoint.
    pub fn shutdown_checkpoint(checkpoint: &CheckPoint) -> RawRecord {
        Self::with_main_data(rmgr::XLOG, xlog::CHECKPOINT_SHUTDOWN, 0, &checkpoint.encode())
    }

    /// A non-transactional logical message without a database.
    pub fn logical_message(prefix: &str, message: &[u8]) -> RawRecord {
        let mut data = vec![0; 8];
        data.extend_from_slice(&(prefix.len() as u64 + 1).to_le_bytes());
        data.extend_from_slice(&(message.len() as u64).to_le_bytes());
        data.extend_from_slice(prefix.as_bytes());
        data.push(0);
        data.extend_from_slice(message);
        Self::with_main_data(rmgr::LOGICALMSG, 0, 0, &data)
    }

    /// A record that makes the rest of its segment unused.
    pub fn switch() -> RawRecord {
        Self::with_main_data(rmgr::XLOG, xlog::SWITCH, 0, &[])
    }

    /// The whole record, CRC included.
    pub fn to_bytes(&self, prev: Lsn) -> Vec<u8> {
        let total_length = RECORD_HEADER_SIZE + self.body.len();
        let mut out = Vec::with_capacity(total_length);
        out.extend_from_slice(&(total_length as u32).to_le_bytes());
        out.extend_from_slice(&self.xid.to_le_bytes());
        out.extend_from_slice(&prev.0.to_le_bytes());
        out.extend_from_slice(&[self.info, self.rmid, 0, 0]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&self.body), &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.body);
        out
    }
}
