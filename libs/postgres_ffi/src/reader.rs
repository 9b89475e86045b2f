//! Reading little-endian integers from the front of a byte slice, the way PostgreSQL lays out
//! its WAL record bodies. Never panics: every read says what it wanted when bytes run out.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

/// The bytes ended before a member was complete.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} needs {needed} bytes but only {left} are left")]
pub struct TooShort {
    /// The member being read.
    pub what: &'static str,
    /// Its length in bytes.
    pub needed: usize,
    /// Bytes that were left.
    pub left: usize,
}

/// Consumes a slice from the front.
#[derive(Clone, Copy, Debug)]
pub struct LeReader<'a> {
    rest: &'a [u8],
}

impl<'a> LeReader<'a> {
    /// Reads `bytes` from their beginning.
    pub const fn new(bytes: &'a [u8]) -> Self {
        LeReader { rest: bytes }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes have not been read yet.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `length` bytes.
    #[inline]
    pub fn bytes(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], TooShort> {
        let error = TooShort { what, needed: length, left: self.rest.len() };
        let (head, rest) = self.rest.split_at_checked(length).ok_or(error)?;
        self.rest = rest;
        Ok(head)
    }

    /// Passes over `length` bytes.
    #[inline]
    pub fn skip(&mut self, length: usize, what: &'static str) -> Result<(), TooShort> {
        self.bytes(length, what).map(|_| ())
    }

    /// The next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], TooShort> {
        let error = TooShort { what, needed: N, left: self.rest.len() };
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(error)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8, TooShort> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// A two-byte integer.
    #[inline]
    pub fn u16(&mut self, what: &'static str) -> Result<u16, TooShort> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// A four-byte integer.
    #[inline]
    pub fn u32(&mut self, what: &'static str) -> Result<u32, TooShort> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A four-byte signed integer.
    #[inline]
    pub fn i32(&mut self, what: &'static str) -> Result<i32, TooShort> {
        self.array(what).map(i32::from_le_bytes)
    }

    /// An eight-byte integer.
    #[inline]
    pub fn u64(&mut self, what: &'static str) -> Result<u64, TooShort> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// An eight-byte signed integer.
    #[inline]
    pub fn i64(&mut self, what: &'static str) -> Result<i64, TooShort> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// Bytes up to a NUL, which is consumed but not returned.
    pub fn cstr(&mut self, what: &'static str) -> Result<&'a [u8], TooShort> {
        let left = self.rest.len();
        let error = TooShort { what, needed: left + 1, left };
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(error)?;
        let text = self.bytes(end, what)?;
        self.skip(1, what)?;
        Ok(text)
    }
}
