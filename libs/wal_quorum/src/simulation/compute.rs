//! A compute: the real proposer, and a database that writes records.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use rand::Rng;
use rand::rngs::StdRng;
use utils::Lsn;

use super::platform::Platform;
use super::safekeeper::{PG_VERSION, TENANT, TIMELINE, WAL_SEG_SIZE};
use crate::messages::{AppendRequestHeader, ProposerUuid};
use crate::proposer::{Election, Mode, Proposer, ProposerConfig};
use crate::term_history::Term;

/// The local WAL of a database; outlives its proposer.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where the database was started from a basebackup: past a page header.
    pub redo_start_lsn: Lsn,
    /// Where its WAL begins, with that page header if there is one.
    pub start_lsn: Lsn,
    /// WAL from there on.
    pub wal: Vec<u8>,
    /// The term stored beside the data directory.
    pub last_elected_term: Term,
}

impl Database {
    /// One that goes on where the WAL ends.
    pub fn new(start_lsn: Lsn) -> Self {
        let redo_start_lsn = start_lsn.normalize(u64::from(WAL_SEG_SIZE));
        Self { redo_start_lsn, start_lsn, wal: Vec::new(), last_elected_term: crate::INVALID_TERM }
    }

    pub fn end_lsn(&self) -> Lsn {
        self.start_lsn + self.wal.len() as u64
    }

    /// Writes as many records as are pending.
    pub fn write<P: Platform>(&mut self, pending_records: &mut u32, rng: &mut StdRng) {
        for _ in 0..std::mem::take(pending_records) {
            let record = P::record(self.end_lsn(), rng.random(), rng.random_range(1..8));
            self.wal.extend(record);
        }
    }

    /// The bytes `[begin, end)`, if the database has them.
    pub fn read(&self, begin: Lsn, end: Lsn) -> Option<&[u8]> {
        let begin = begin.checked_sub(self.start_lsn)? as usize;
        let end = end.checked_sub(self.start_lsn)? as usize;
        self.wal.get(begin..end)
    }
}

/// One run of a proposer.
#[derive(Debug)]
pub struct Compute {
    pub proposer: Proposer,
    /// Which chain of computes it belongs to.
    pub chain: usize,
    /// `None` in sync mode.
    pub database: Option<Database>,
    pub election: Option<Election>,
    /// Records to write once elected.
    pub pending_records: u32,
    pub running: bool,
    /// First position the proposer may ask for locally.
    pub window_start_lsn: Lsn,
    /// For leaving out the rule about the term's start: what each safekeeper
    /// flushed, and what would be taken for committed.
    pub counted_lsns: BTreeMap<usize, Lsn>,
    pub miscounted_lsn: Lsn,
}

impl Compute {
    pub fn new(
        chain: usize,
        number: usize,
        database: Option<Database>,
        safekeeper_count: usize,
        max_append_bytes: u64,
    ) -> Self {
        let mode = database.as_ref().map_or(Mode::Sync, |database| Mode::Stream {
            redo_start_lsn: database.redo_start_lsn,
            last_elected_term: database.last_elected_term,
        });
        let config = ProposerConfig {
            mode,
            tenant_id: TENANT,
            timeline_id: TIMELINE,
            system_id: if mode == Mode::Sync { 0 } else { 77 },
            pg_version: PG_VERSION,
            wal_seg_size: WAL_SEG_SIZE,
            proposer_uuid: ProposerUuid([number as u8; 16]),
            safekeeper_count,
            reconnect_interval_ms: 1000,
            connect_timeout_ms: 5000,
            max_append_bytes,
        };
        Self {
            proposer: Proposer::new(config).expect("valid configuration"),
            chain,
            database,
            election: None,
            pending_records: 0,
            running: true,
            window_start_lsn: Lsn::INVALID,
            counted_lsns: BTreeMap::new(),
            miscounted_lsn: Lsn::INVALID,
        }
    }
}

/// The payload of an AppendRequest.
pub fn append_payload(header: &AppendRequestHeader, wal: &[u8]) -> Bytes {
    assert_eq!(wal.len() as u64, header.wal_bytes());
    let mut payload = BytesMut::with_capacity(72 + wal.len());
    header.encode(&mut payload);
    payload.extend_from_slice(wal);
    payload.freeze()
}
