//! The supported major versions of PostgreSQL.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A PostgreSQL major version that this system can store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum PgMajor {
    /// PostgreSQL 15.
    V15,
    /// PostgreSQL 16.
    V16,
    /// PostgreSQL 17.
    V17,
    /// PostgreSQL 18.
    V18,
}

/// The version is outside 15–18.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Unsupported postgres version: {0} (supported: 15, 16, 17, 18)")]
pub struct UnsupportedVersion(pub u32);

impl PgMajor {
    /// Every supported version, oldest first.
    pub const ALL: [PgMajor; 4] = [PgMajor::V15, PgMajor::V16, PgMajor::V17, PgMajor::V18];

    /// The number as people write it, such as 15.
    pub const fn number(self) -> u32 {
        match self {
            PgMajor::V15 => 15,
            PgMajor::V16 => 16,
            PgMajor::V17 => 17,
            PgMajor::V18 => 18,
        }
    }

    /// From `PG_VERSION_NUM` form, such as 160003.
    pub fn from_version_num(version_num: u32) -> Result<Self, UnsupportedVersion> {
        Self::try_from(version_num / 10_000)
    }

    /// The magic number of this version's WAL page headers.
    pub const fn xlog_page_magic(self) -> u16 {
        match self {
            PgMajor::V15 => 0xD110,
            PgMajor::V16 => 0xD113,
            PgMajor::V17 => 0xD116,
            PgMajor::V18 => 0xD118,
        }
    }
}

impl TryFrom<u32> for PgMajor {
    type Error = UnsupportedVersion;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        Self::ALL.into_iter().find(|v| v.number() == number).ok_or(UnsupportedVersion(number))
    }
}

impl From<PgMajor> for u32 {
    fn from(version: PgMajor) -> u32 {
        version.number()
    }
}

impl fmt::Display for PgMajor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
