//! What every resource manager module is given: one record and the role its block plays.

use postgres_ffi::{BlockNumber, PgMajor};
use utils::Lsn;
use wal_decoder::record::{BlockReference, DecodedRecord};

use crate::error::RedoFailure;
use crate::reader::Reader;

/// One record, seen from one of its blocks.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a, 'r> {
    pub record: &'a DecodedRecord<'r>,
    pub reference: &'a BlockReference<'r>,
    pub end_lsn: Lsn,
    pub major: PgMajor,
}

/// Whether an action leaves a mark in the page's LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// The page's LSN becomes the record's end.
    EndLsn,
    /// The page's LSN stays.
    Keep,
}

impl<'r> Target<'_, 'r> {
    /// A reader over the data that belong to no block.
    pub(crate) fn main_data(&self) -> Reader<'r> {
        Reader::new(self.record.main_data)
    }

    /// A reader over the data of the block at hand.
    pub(crate) fn block_data(&self) -> Reader<'r> {
        Reader::new(self.reference.data)
    }

    /// The number of the block in another role.
    pub(crate) fn block_number(&self, id: u8) -> Result<BlockNumber, RedoFailure> {
        let reference = self.record.block_by_id(id);
        reference.map(|r| r.block).ok_or(RedoFailure::MissingReference(id))
    }

    /// The failure for a role that the record type does not have.
    pub(crate) fn unexpected<T>(&self) -> Result<T, RedoFailure> {
        Err(RedoFailure::UnexpectedReference(self.reference.id))
    }
}
