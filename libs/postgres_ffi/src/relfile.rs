//! How PostgreSQL names what it stores: relations, forks, blocks and SLRU kinds.

use std::fmt;

use crate::reader::{LeReader, TooShort};

/// A PostgreSQL object identifier.
pub type Oid = u32;

/// Number of an 8 KiB block within a fork.
pub type BlockNumber = u32;

/// Which file of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ForkNumber {
    /// The data itself.
    Main = 0,
    /// Free space map.
    Fsm = 1,
    /// Visibility map.
    VisibilityMap = 2,
    /// Initial content of an unlogged relation.
    Init = 3,
}

impl ForkNumber {
    /// Every fork, in numeric order.
    pub const ALL: [ForkNumber; 4] =
        [ForkNumber::Main, ForkNumber::Fsm, ForkNumber::VisibilityMap, ForkNumber::Init];

    /// From the number used in WAL records, keys and page requests.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|fork| *fork as u8 == number)
    }

    /// The file name suffix: empty, `_fsm`, `_vm` or `_init`.
    pub fn suffix(self) -> &'static str {
        match self {
            ForkNumber::Main => "",
            ForkNumber::Fsm => "_fsm",
            ForkNumber::VisibilityMap => "_vm",
            ForkNumber::Init => "_init",
        }
    }
}

/// One fork of one relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelTag {
    /// Tablespace.
    pub spcnode: Oid,
    /// Database; 0 for shared relations.
    pub dbnode: Oid,
    /// Relation file number.
    pub relnode: Oid,
    /// Fork.
    pub fork: ForkNumber,
}

impl RelTag {
    /// Reads a relation's identity as WAL records hold it, without fork: its main fork.
    pub fn read(reader: &mut LeReader) -> Result<RelTag, TooShort> {
        Ok(RelTag {
            spcnode: reader.u32("tablespace")?,
            dbnode: reader.u32("database")?,
            relnode: reader.u32("relation")?,
            fork: ForkNumber::Main,
        })
    }

    /// The same relation's other fork.
    pub fn with_fork(self, fork: ForkNumber) -> RelTag {
        RelTag { fork, ..self }
    }
}

impl fmt::Display for RelTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RelTag { spcnode, dbnode, relnode, fork } = self;
        write!(f, "{spcnode}/{dbnode}/{relnode}{}", fork.suffix())
    }
}

/// The SLRUs that the storage keeps, with their numbers in keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SlruKind {
    /// Transaction status, `pg_xact`.
    Clog = 0,
    /// `pg_multixact/members`.
    MultiXactMembers = 1,
    /// `pg_multixact/offsets`.
    MultiXactOffsets = 2,
    /// Commit timestamps, `pg_commit_ts`. The one that servers need not have.
    CommitTs = 3,
}

impl SlruKind {
    /// Every kind, in numeric order.
    pub const ALL: [SlruKind; 4] = [
        SlruKind::Clog,
        SlruKind::MultiXactMembers,
        SlruKind::MultiXactOffsets,
        SlruKind::CommitTs,
    ];

    /// From the number used in keys. Page requests know no commit timestamps.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The directory below the data directory.
    pub fn directory(self) -> &'static str {
        match self {
            SlruKind::Clog => "pg_xact",
            SlruKind::MultiXactMembers => "pg_multixact/members",
            SlruKind::MultiXactOffsets => "pg_multixact/offsets",
            SlruKind::CommitTs => "pg_commit_ts",
        }
    }
}
