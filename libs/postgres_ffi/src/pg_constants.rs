//! Numbers of PostgreSQL's WAL: resource managers and their operations.

/// Part of the info byte that belongs to the resource manager.
pub const XLR_RMGR_INFO_MASK: u8 = 0xF0;

/// Resource manager numbers; the same in all supported versions.
pub mod rmgr {
    /// Checkpoints, page images and the WAL's own housekeeping.
    pub const XLOG: u8 = 0;
    /// Transaction ends.
    pub const XACT: u8 = 1;
    /// Relation files.
    pub const SMGR: u8 = 2;
    /// Transaction status.
    pub const CLOG: u8 = 3;
    /// Databases.
    pub const DBASE: u8 = 4;
    /// Tablespaces.
    pub const TBLSPC: u8 = 5;
    /// Multixacts.
    pub const MULTIXACT: u8 = 6;
    /// Relation maps.
    pub const RELMAP: u8 = 7;
    /// Hot standby.
    pub const STANDBY: u8 = 8;
    /// Heap, second set of operations.
    pub const HEAP2: u8 = 9;
    /// Heap.
    pub const HEAP: u8 = 10;
    /// B-tree.
    pub const BTREE: u8 = 11;
    /// Hash index.
    pub const HASH: u8 = 12;
    /// GIN.
    pub const GIN: u8 = 13;
    /// GiST.
    pub const GIST: u8 = 14;
    /// Sequences.
    pub const SEQ: u8 = 15;
    /// SP-GiST.
    pub const SPGIST: u8 = 16;
    /// BRIN.
    pub const BRIN: u8 = 17;
    /// Commit timestamps.
    pub const COMMIT_TS: u8 = 18;
    /// Replication origins.
    pub const REPLORIGIN: u8 = 19;
    /// Generic page deltas.
    pub const GENERIC: u8 = 20;
    /// Logical messages.
    pub const LOGICALMSG: u8 = 21;
}

/// Operations of resource manager XLOG.
pub mod xlog {
    /// Checkpoint at a clean shutdown.
    pub const CHECKPOINT_SHUTDOWN: u8 = 0x00;
    /// Checkpoint of a running server.
    pub const CHECKPOINT_ONLINE: u8 = 0x10;
    /// Nothing.
    pub const NOOP: u8 = 0x20;
    /// Object identifiers were reserved.
    pub const NEXTOID: u8 = 0x30;
    /// The rest of the segment is unused.
    pub const SWITCH: u8 = 0x40;
    /// A base backup ended.
    pub const BACKUP_END: u8 = 0x50;
    /// Settings that replicas depend on changed.
    pub const PARAMETER_CHANGE: u8 = 0x60;
    /// A named point.
    pub const RESTORE_POINT: u8 = 0x70;
    /// `full_page_writes` changed.
    pub const FPW_CHANGE: u8 = 0x80;
    /// Recovery ended.
    pub const END_OF_RECOVERY: u8 = 0x90;
    /// A page image for a change that is not logged.
    pub const FPI_FOR_HINT: u8 = 0xA0;
    /// A page image.
    pub const FPI: u8 = 0xB0;
    /// A partial record before this was abandoned.
    pub const OVERWRITE_CONTRECORD: u8 = 0xD0;
    /// Where an online checkpoint's redo starts (17 and later).
    pub const CHECKPOINT_REDO: u8 = 0xE0;
}

/// Operations of resource manager XACT, in the bits [`xact::OP_MASK`].
pub mod xact {
    /// Bits of the operation.
    pub const OP_MASK: u8 = 0x70;
    /// Commit.
    pub const COMMIT: u8 = 0x00;
    /// First phase of a two-phase commit.
    pub const PREPARE: u8 = 0x10;
    /// Abort.
    pub const ABORT: u8 = 0x20;
    /// Second phase: commit.
    pub const COMMIT_PREPARED: u8 = 0x30;
    /// Second phase: abort.
    pub const ABORT_PREPARED: u8 = 0x40;
    /// Subtransactions of a top-level transaction.
    pub const ASSIGNMENT: u8 = 0x50;
    /// Cache invalidations.
    pub const INVALIDATIONS: u8 = 0x60;
    /// The record has an `xinfo` word.
    pub const HAS_INFO: u8 = 0x80;

    /// `xinfo`: database and tablespace.
    pub const XINFO_HAS_DBINFO: u32 = 1 << 0;
    /// `xinfo`: subtransactions.
    pub const XINFO_HAS_SUBXACTS: u32 = 1 << 1;
    /// `xinfo`: dropped relations.
    pub const XINFO_HAS_RELFILELOCATORS: u32 = 1 << 2;
    /// `xinfo`: cache invalidations.
    pub const XINFO_HAS_INVALS: u32 = 1 << 3;
    /// `xinfo`: the prepared transaction's id.
    pub const XINFO_HAS_TWOPHASE: u32 = 1 << 4;
    /// `xinfo`: replication origin.
    pub const XINFO_HAS_ORIGIN: u32 = 1 << 5;
    /// `xinfo`: name of the prepared transaction.
    pub const XINFO_HAS_GID: u32 = 1 << 7;
    /// `xinfo`: dropped statistics.
    pub const XINFO_HAS_DROPPED_STATS: u32 = 1 << 8;
}

/// Operations of resource manager SMGR.
pub mod smgr {
    /// A relation file is created.
    pub const CREATE: u8 = 0x10;
    /// A relation is truncated.
    pub const TRUNCATE: u8 = 0x20;
    /// TRUNCATE: the main fork.
    pub const TRUNCATE_HEAP: u32 = 1;
    /// TRUNCATE: the visibility map.
    pub const TRUNCATE_VM: u32 = 2;
    /// TRUNCATE: the free space map.
    pub const TRUNCATE_FSM: u32 = 4;
}

/// Operations of resource manager CLOG.
pub mod clog {
    /// A new page.
    pub const ZEROPAGE: u8 = 0x00;
    /// Old segments go.
    pub const TRUNCATE: u8 = 0x10;
}

/// Operations of resource manager COMMIT_TS.
pub mod commit_ts {
    /// A new page.
    pub const ZEROPAGE: u8 = 0x00;
    /// Old segments go.
    pub const TRUNCATE: u8 = 0x10;
}

/// Operations of resource manager DBASE.
pub mod dbase {
    /// A database is copied file by file.
    pub const CREATE_FILE_COPY: u8 = 0x00;
    /// A database is created; its pages follow in the WAL.
    pub const CREATE_WAL_LOG: u8 = 0x10;
    /// A database is dropped.
    pub const DROP: u8 = 0x20;
}

/// Operations of resource manager TBLSPC.
pub mod tblspc {
    /// A tablespace is created.
    pub const CREATE: u8 = 0x00;
    /// A tablespace, which is empty, is dropped.
    pub const DROP: u8 = 0x10;
}

/// Operations of resource manager MULTIXACT.
pub mod multixact {
    /// A new offsets page.
    pub const ZERO_OFF_PAGE: u8 = 0x00;
    /// A new members page.
    pub const ZERO_MEM_PAGE: u8 = 0x10;
    /// A multixact is created.
    pub const CREATE_ID: u8 = 0x20;
    /// Old multixacts go.
    pub const TRUNCATE_ID: u8 = 0x30;
}

/// Operations of resource manager RELMAP.
pub mod relmap {
    /// A relation map is replaced.
    pub const UPDATE: u8 = 0x00;
}

/// Operations of resource manager STANDBY.
pub mod standby {
    /// Locks are taken.
    pub const LOCK: u8 = 0x00;
    /// Which transactions run.
    pub const RUNNING_XACTS: u8 = 0x10;
    /// Cache invalidations.
    pub const INVALIDATIONS: u8 = 0x20;
}

/// Operations of resource managers HEAP and HEAP2, in the bits [`heap::OP_MASK`].
pub mod heap {
    /// Bits of the operation.
    pub const OP_MASK: u8 = 0x70;
    /// The page is initialised by this record.
    pub const INIT_PAGE: u8 = 0x80;
    /// HEAP: insert.
    pub const INSERT: u8 = 0x00;
    /// HEAP: delete.
    pub const DELETE: u8 = 0x10;
    /// HEAP: update.
    pub const UPDATE: u8 = 0x20;
    /// HEAP: truncate (logical decoding only).
    pub const TRUNCATE: u8 = 0x30;
    /// HEAP: heap-only update.
    pub const HOT_UPDATE: u8 = 0x40;
    /// HEAP: a speculative insertion becomes real.
    pub const CONFIRM: u8 = 0x50;
    /// HEAP: row lock.
    pub const LOCK: u8 = 0x60;
    /// HEAP: overwrite in place.
    pub const INPLACE: u8 = 0x70;
    /// HEAP2: several inserts.
    pub const MULTI_INSERT: u8 = 0x50;
    /// HEAP2: row lock on an updated version.
    pub const LOCK_UPDATED: u8 = 0x60;
}

/// Operations of resource manager REPLORIGIN.
pub mod replorigin {
    /// Progress of an origin.
    pub const SET: u8 = 0x00;
    /// An origin is dropped.
    pub const DROP: u8 = 0x10;
}

/// Operations of resource manager LOGICALMSG.
pub mod logicalmsg {
    /// A message.
    pub const MESSAGE: u8 = 0x00;
}
