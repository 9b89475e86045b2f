//! Values stored under keys: whole images, or records to apply to an older value.
//!
//! The byte form is docs/formats/values.md. Parsing never panics.

use bytes::{BufMut, Bytes, BytesMut};

/// A version of a key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The complete value.
    Image(Bytes),
    /// A change to the version before.
    WalRecord(WalRecord),
}

/// A change to a stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalRecord {
    /// A PostgreSQL WAL record, applied by the redo engine.
    Postgres {
        /// Whether the record rebuilds the page from nothing.
        will_init: bool,
        /// The raw record, header included.
        record: Bytes,
    },
    /// Clears bits of a visibility map page for up to two heap blocks.
    ClearVisibilityMapFlags {
        /// Heap block whose bits are cleared.
        new_heap_block: Option<u32>,
        /// Another heap block whose bits are cleared.
        old_heap_block: Option<u32>,
        /// Which of the two bits to clear.
        flags: u8,
    },
    /// Marks transactions as committed on a commit-log page.
    ClogSetCommitted {
        /// Transactions, all on this page.
        xids: Vec<u32>,
        /// Commit time in microseconds since 2000-01-01 UTC.
        timestamp: i64,
    },
    /// Marks transactions as aborted on a commit-log page.
    ClogSetAborted {
        /// Transactions, all on this page.
        xids: Vec<u32>,
    },
    /// Sets one entry of a multixact-offsets page.
    MultixactOffsetCreate {
        /// The multixact.
        multixact: u32,
        /// Where its members begin.
        offset: u32,
    },
    /// Sets several entries of one multixact-offsets page: a new multixact's, and where the one
    /// after it will begin.
    MultixactOffsetsCreate {
        /// Pairs of multixact and where its members begin, all on this page.
        entries: Vec<(u32, u32)>,
    },
    /// Writes members into a multixact-members page.
    MultixactMembersCreate {
        /// Position of the first member.
        offset: u32,
        /// Pairs of transaction and status, all on this page.
        members: Vec<(u32, u32)>,
    },
    /// Changes one file of the version 1 auxiliary file map.
    AuxFile {
        /// Path below the data directory.
        path: String,
        /// New content; `None` removes the file.
        content: Option<Bytes>,
    },
}

/// The bytes are not a serialised [`Value`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValueDecodeError {
    /// The bytes end too early.
    #[error("stored value ends too early: {needed} more bytes wanted for {what}")]
    Truncated {
        /// The member being read.
        what: &'static str,
        /// Bytes missing.
        needed: usize,
    },
    /// An enum index is unknown.
    #[error("stored value has unknown {what} {value}")]
    UnknownVariant {
        /// Which index.
        what: &'static str,
        /// The number found.
        value: u32,
    },
    /// A member is malformed.
    #[error("stored value has an invalid {what}")]
    Invalid {
        /// Which member.
        what: &'static str,
    },
    /// Bytes remain after the value.
    #[error("stored value is followed by {0} surplus bytes")]
    TrailingBytes(usize),
}

/// Index of [`WalRecord::MultixactOffsetsCreate`]. Those before it are compatible with other
/// implementations of the format, in which 7 is a test's.
const OFFSETS_CREATE: u32 = 8;

impl Value {
    /// Whether no older version is needed to reconstruct the key.
    pub fn will_init(&self) -> bool {
        matches!(
            self,
            Value::Image(_) | Value::WalRecord(WalRecord::Postgres { will_init: true, .. })
        )
    }

    /// Appends the byte form.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Value::Image(image) => {
                out.put_u32(0);
                put_bytes(out, image);
            }
            Value::WalRecord(record) => {
                out.put_u32(1);
                record.encode(out);
            }
        }
    }

    /// The byte form.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }

    /// Reads a value that must fill `bytes` exactly. Images and records share its memory.
    pub fn decode(bytes: &Bytes) -> Result<Value, ValueDecodeError> {
        let mut reader = Reader { rest: bytes.clone() };
        let value = match reader.u32("value kind")? {
            0 => Value::Image(reader.bytes("image")?),
            1 => Value::WalRecord(WalRecord::decode(&mut reader)?),
            value => return Err(ValueDecodeError::UnknownVariant { what: "value kind", value }),
        };
        match reader.rest.len() {
            0 => Ok(value),
            surplus => Err(ValueDecodeError::TrailingBytes(surplus)),
        }
    }

    /// [`Value::will_init`] of serialised bytes, without decoding them.
    pub fn encoded_will_init(bytes: &[u8]) -> Result<bool, ValueDecodeError> {
        let truncated = |needed| ValueDecodeError::Truncated { what: "value head", needed };
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
            word.map(|word| u32::from_be_bytes(*word))
                .ok_or_else(|| truncated(at + 4 - bytes.len()))
        };
        match (word(0)?, word(4)?) {
            (0, _) => Ok(true),
            (1, 0) if bytes.len() < 17 => Err(truncated(17 - bytes.len())),
            (1, 0) => Ok(bytes.get(8) == Some(&1)),
            _ => Ok(false),
        }
    }
}

impl WalRecord {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            WalRecord::Postgres { will_init, record } => {
                out.put_u32(0);
                out.put_u8(u8::from(*will_init));
                put_bytes(out, record);
            }
            WalRecord::ClearVisibilityMapFlags { new_heap_block, old_heap_block, flags } => {
                out.put_u32(1);
                put_option_u32(out, *new_heap_block);
                put_option_u32(out, *old_heap_block);
                out.put_u8(*flags);
            }
            WalRecord::ClogSetCommitted { xids, timestamp } => {
                out.put_u32(2);
                put_xids(out, xids);
                out.put_i64(*timestamp);
            }
            WalRecord::ClogSetAborted { xids } => {
                out.put_u32(3);
                put_xids(out, xids);
            }
            WalRecord::MultixactOffsetCreate { multixact, offset } => {
                out.put_u32(4);
                out.put_u32(*multixact);
                out.put_u32(*offset);
            }
            WalRecord::MultixactMembersCreate { offset, members } => {
                out.put_u32(5);
                out.put_u32(*offset);
                put_pairs(out, members);
            }
            WalRecord::AuxFile { path, content } => {
                out.put_u32(6);
                put_bytes(out, path.as_bytes());
                match content {
                    None => out.put_u8(0),
                    Some(content) => {
                        out.put_u8(1);
                        put_bytes(out, content);
                    }
                }
            }
            WalRecord::MultixactOffsetsCreate { entries } => {
                out.put_u32(OFFSETS_CREATE);
                put_pairs(out, entries);
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<WalRecord, ValueDecodeError> {
        Ok(match reader.u32("record kind")? {
            0 => WalRecord::Postgres {
                will_init: reader.bool("will_init")?,
                record: reader.bytes("record")?,
            },
            1 => WalRecord::ClearVisibilityMapFlags {
                new_heap_block: reader.option_u32("new heap block")?,
                old_heap_block: reader.option_u32("old heap block")?,
                flags: reader.u8("flags")?,
            },
            2 => WalRecord::ClogSetCommitted {
                xids: reader.xids()?,
                timestamp: reader.u64("timestamp")? as i64,
            },
            3 => WalRecord::ClogSetAborted { xids: reader.xids()? },
            4 => WalRecord::MultixactOffsetCreate {
                multixact: reader.u32("multixact")?,
                offset: reader.u32("offset")?,
            },
            5 => WalRecord::MultixactMembersCreate {
                offset: reader.u32("offset")?,
                members: reader.pairs()?,
            },
            6 => {
                WalRecord::AuxFile { path: reader.string("path")?, content: reader.option_bytes()? }
            }
            OFFSETS_CREATE => WalRecord::MultixactOffsetsCreate { entries: reader.pairs()? },
            value => return Err(ValueDecodeError::UnknownVariant { what: "record kind", value }),
        })
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u64(bytes.len() as u64);
    out.put_slice(bytes);
}

fn put_option_u32(out: &mut BytesMut, value: Option<u32>) {
    match value {
        None => out.put_u8(0),
        Some(value) => {
            out.put_u8(1);
            out.put_u32(value);
        }
    }
}

fn put_xids(out: &mut BytesMut, xids: &[u32]) {
    out.put_u64(xids.len() as u64);
    for xid in xids {
        out.put_u32(*xid);
    }
}

fn put_pairs(out: &mut BytesMut, pairs: &[(u32, u32)]) {
    out.put_u64(pairs.len() as u64);
    for (first, second) in pairs {
        out.put_u32(*first);
        out.put_u32(*second);
    }
}

/// Consumes a serialised value from the front.
struct Reader {
    rest: Bytes,
}

impl Reader {
    fn take(&mut self, length: usize, what: &'static str) -> Result<Bytes, ValueDecodeError> {
        if self.rest.len() < length {
            let needed = length - self.rest.len();
            return Err(ValueDecodeError::Truncated { what, needed });
        }
        Ok(self.rest.split_to(length))
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ValueDecodeError> {
        let bytes = self.take(N, what)?;
        bytes.as_ref().try_into().map_err(|_| ValueDecodeError::Invalid { what })
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, ValueDecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, ValueDecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, ValueDecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    fn bool(&mut self, what: &'static str) -> Result<bool, ValueDecodeError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ValueDecodeError::Invalid { what }),
        }
    }

    /// A u64 count of elements of `element_size` bytes, checked against what is left.
    fn count(
        &mut self,
        element_size: usize,
        what: &'static str,
    ) -> Result<usize, ValueDecodeError> {
        let count = self.u64(what)?;
        let count = usize::try_from(count).map_err(|_| ValueDecodeError::Invalid { what })?;
        let length = count.checked_mul(element_size).ok_or(ValueDecodeError::Invalid { what })?;
        match length.checked_sub(self.rest.len()) {
            None | Some(0) => Ok(count),
            Some(needed) => Err(ValueDecodeError::Truncated { what, needed }),
        }
    }

    fn bytes(&mut self, what: &'static str) -> Result<Bytes, ValueDecodeError> {
        let length = self.count(1, what)?;
        self.take(length, what)
    }

    fn string(&mut self, what: &'static str) -> Result<String, ValueDecodeError> {
        let bytes = self.bytes(what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| ValueDecodeError::Invalid { what })
    }

    fn option_u32(&mut self, what: &'static str) -> Result<Option<u32>, ValueDecodeError> {
        Ok(if self.bool(what)? { Some(self.u32(what)?) } else { None })
    }

    fn option_bytes(&mut self) -> Result<Option<Bytes>, ValueDecodeError> {
        Ok(if self.bool("content")? { Some(self.bytes("content")?) } else { None })
    }

    fn xids(&mut self) -> Result<Vec<u32>, ValueDecodeError> {
        let count = self.count(4, "transaction list")?;
        (0..count).map(|_| self.u32("transaction")).collect()
    }

    fn pairs(&mut self) -> Result<Vec<(u32, u32)>, ValueDecodeError> {
        let count = self.count(8, "list of pairs")?;
        (0..count).map(|_| Ok((self.u32("pair")?, self.u32("second of pair")?))).collect()
    }
}

#[cfg(test)]
mod tests;
