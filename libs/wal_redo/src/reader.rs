//! A bounds-checked reader over record data.
//!
//! Record data begin at an 8-aligned address in PostgreSQL, so alignment counts from the
//! reader's own beginning.

use crate::error::RedoFailure;

/// Reads little-endian members from the front of a slice.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    whole: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(whole: &'a [u8]) -> Self {
        Reader { whole, position: 0 }
    }

    /// Bytes not yet read.
    pub(crate) fn remaining(&self) -> usize {
        self.whole.len().saturating_sub(self.position)
    }

    /// The next `length` bytes.
    pub(crate) fn take(
        &mut self,
        length: usize,
        what: &'static str,
    ) -> Result<&'a [u8], RedoFailure> {
        let end = self.position.saturating_add(length);
        let bytes = self.whole.get(self.position..end).ok_or_else(|| RedoFailure::Truncated {
            what,
            needed: length.saturating_sub(self.remaining()),
        })?;
        self.position = end;
        Ok(bytes)
    }

    /// Everything not yet read.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.whole.get(self.position..).unwrap_or_default();
        self.position = self.whole.len();
        rest
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], RedoFailure> {
        let bytes = self.take(N, what)?;
        bytes.try_into().map_err(|_| RedoFailure::Truncated { what, needed: N })
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, RedoFailure> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, RedoFailure> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, RedoFailure> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, RedoFailure> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// `count` numbers of 16 bits.
    pub(crate) fn u16_list(
        &mut self,
        count: usize,
        what: &'static str,
    ) -> Result<Vec<u16>, RedoFailure> {
        let bytes = self.take(count.saturating_mul(2), what)?;
        Ok(bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
    }

    /// Skips bytes that are only padding.
    pub(crate) fn skip(&mut self, length: usize, what: &'static str) -> Result<(), RedoFailure> {
        self.take(length, what).map(|_| ())
    }

    /// Moves to the next multiple of `alignment`, at most to the end.
    pub(crate) fn align(&mut self, alignment: usize) {
        self.position = self.position.next_multiple_of(alignment).min(self.whole.len());
    }

    /// Fails unless everything was read.
    pub(crate) fn finish(&self) -> Result<(), RedoFailure> {
        match self.remaining() {
            0 => Ok(()),
            _ => Err(RedoFailure::BadRecord("data remain after the last member")),
        }
    }
}
