//! A bounds-checked cursor over little-endian fields, shared by the message
//! and control-file decoders. It never panics and never allocates more than
//! the input could fill.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use bytes::{Buf, BufMut, Bytes, BytesMut};
use utils::Lsn;

use crate::term_history::{TermHistory, TermLsn};

/// Bytes of one (term, LSN) pair.
const TERM_LSN_BYTES: usize = 16;

/// The input ended inside `field`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("input ends inside field {field}: {needed} bytes needed, {available} available")]
pub struct Truncated {
    /// Name of the field being read.
    pub field: &'static str,
    /// Bytes the field takes.
    pub needed: u64,
    /// Bytes that were left.
    pub available: u64,
}

/// The cursor. Every read names its field for the error text.
pub(crate) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(input: Bytes) -> Self {
        Self { rest: input }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes everything that is left.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn bytes(&mut self, field: &'static str, count: u64) -> Result<Bytes, Truncated> {
        let available = self.rest.len();
        match usize::try_from(count) {
            Ok(count) if count <= available => Ok(self.rest.split_to(count)),
            _ => Err(Truncated { field, needed: count, available: available as u64 }),
        }
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], Truncated> {
        let mut array = [0; N];
        self.bytes(field, N as u64)?.copy_to_slice(&mut array);
        Ok(array)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Truncated> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, Truncated> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, Truncated> {
        Ok(i64::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn lsn(&mut self, field: &'static str) -> Result<Lsn, Truncated> {
        Ok(Lsn(self.u64(field)?))
    }

    /// Reads `count` history entries; `count` is foreign and checked against
    /// what is left before anything is allocated.
    pub(crate) fn history(
        &mut self,
        field: &'static str,
        count: u64,
    ) -> Result<TermHistory, Truncated> {
        let needed = count.saturating_mul(TERM_LSN_BYTES as u64);
        let mut entries = Reader::new(self.bytes(field, needed)?);
        let mut history = Vec::with_capacity(entries.remaining() / TERM_LSN_BYTES);
        while entries.remaining() > 0 {
            history.push(TermLsn { term: entries.u64(field)?, lsn: entries.lsn(field)? });
        }
        Ok(TermHistory(history))
    }
}

/// Appends the entries of `history` without a count.
pub(crate) fn put_history(out: &mut BytesMut, history: &TermHistory) {
    for entry in &history.0 {
        out.put_u64_le(entry.term);
        out.put_u64_le(entry.lsn.0);
    }
}
