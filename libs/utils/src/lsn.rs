//! Log sequence numbers: byte positions in a timeline's write-ahead log.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Size of a WAL page in bytes.
pub const XLOG_BLCKSZ: u64 = 8192;
/// Bytes of the page header at the start of every WAL segment.
pub const XLOG_SIZE_OF_LONG_PHD: u64 = 40;
/// Bytes of the page header at the start of every other WAL page.
pub const XLOG_SIZE_OF_SHORT_PHD: u64 = 24;

/// A position in the WAL, in bytes from its beginning. `Lsn(0)` is invalid.
///
/// Written `HI/LO`: two upper-case hexadecimal halves without padding.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position that means "none".
    pub const INVALID: Lsn = Lsn(0);
    /// The greatest position; page requests use it for "the newest".
    pub const MAX: Lsn = Lsn(u64::MAX);

    /// Whether this is a real position.
    pub fn is_valid(self) -> bool {
        self != Self::INVALID
    }

    /// Rounds up to the next multiple of 8, where WAL records may start.
    pub fn align(self) -> Lsn {
        Lsn((self.0 + 7) & !7)
    }

    /// Whether records may start here (a multiple of 8).
    pub fn is_aligned(self) -> bool {
        self.0.is_multiple_of(8)
    }

    /// The number of the segment of `segment_size` bytes that holds this byte.
    pub fn segment_number(self, segment_size: u64) -> u64 {
        self.0 / segment_size
    }

    /// The byte offset within its segment of `segment_size` bytes.
    pub fn segment_offset(self, segment_size: u64) -> u64 {
        self.0 % segment_size
    }

    /// The byte offset within its WAL page.
    pub fn page_offset(self) -> u64 {
        self.0 % XLOG_BLCKSZ
    }

    /// Bytes left on the current WAL page; a full page when at its start.
    pub fn remaining_in_page(self) -> u64 {
        XLOG_BLCKSZ - self.page_offset()
    }

    /// The start of the WAL page that holds this byte.
    pub fn page_start(self) -> Lsn {
        Lsn(self.0 - self.page_offset())
    }

    /// Moves a position that lies on a page boundary past that page's header,
    /// where the next record really begins; any other position is aligned.
    pub fn normalize(self, segment_size: u64) -> Lsn {
        if !self.0.is_multiple_of(XLOG_BLCKSZ) {
            self.align()
        } else if self.segment_offset(segment_size) == 0 {
            self + XLOG_SIZE_OF_LONG_PHD
        } else {
            self + XLOG_SIZE_OF_SHORT_PHD
        }
    }

    /// `self - other`, or `None` when `other` is ahead.
    pub fn checked_sub(self, other: Lsn) -> Option<u64> {
        self.0.checked_sub(other.0)
    }

    /// `self - other`, or 0 when `other` is ahead.
    pub fn saturating_sub(self, other: Lsn) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl Add<u64> for Lsn {
    type Output = Lsn;
    fn add(self, bytes: u64) -> Lsn {
        Lsn(self.0 + bytes)
    }
}

impl Sub<Lsn> for Lsn {
    type Output = u64;
    fn sub(self, other: Lsn) -> u64 {
        self.0 - other.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not of the form `HI/LO` with two hexadecimal 32-bit halves.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid LSN {0:?}: expected two hexadecimal numbers separated by '/', such as 0/16B9188")]
pub struct LsnParseError(pub String);

impl FromStr for Lsn {
    type Err = LsnParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || LsnParseError(text.to_owned());
        let (high, low) = text.split_once('/').ok_or_else(error)?;
        let half = |digits: &str| {
            let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            valid.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
        };
        let high = half(high).ok_or_else(error)?;
        let low = half(low).ok_or_else(error)?;
        Ok(Lsn(u64::from(high) << 32 | u64::from(low)))
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An [`Lsn`] that threads share without a lock.
#[derive(Debug, Default)]
pub struct AtomicLsn(AtomicU64);

impl AtomicLsn {
    /// Starts at `lsn`.
    pub const fn new(lsn: Lsn) -> Self {
        AtomicLsn(AtomicU64::new(lsn.0))
    }

    /// The current value.
    pub fn load(&self) -> Lsn {
        Lsn(self.0.load(Ordering::Acquire))
    }

    /// Replaces the value.
    pub fn store(&self, lsn: Lsn) {
        self.0.store(lsn.0, Ordering::Release);
    }

    /// Raises the value to `lsn` if that is greater; returns the old value.
    pub fn fetch_max(&self, lsn: Lsn) -> Lsn {
        Lsn(self.0.fetch_max(lsn.0, Ordering::AcqRel))
    }
}

#[cfg(test)]
mod tests;
