//! Why a record could not be applied.
//!
//! [`RedoError`] adds the record and the page to a [`RedoFailure`], which the resource manager
//! modules raise. Neither is retryable: the same record on the same page fails the same way.

use postgres_ffi::{BlockNumber, RelTag};
use utils::Lsn;

use crate::image::ImageError;

/// A record could not be applied to a page. The page's content is unspecified afterwards.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "cannot apply {resource_manager} record with info {info:#04x} that ends at {end_lsn} \
     to block {block} of {rel}: {failure}"
)]
pub struct RedoError {
    /// Name of the record's resource manager.
    pub resource_manager: &'static str,
    /// The record's whole info byte.
    pub info: u8,
    /// Where the record ends.
    pub end_lsn: Lsn,
    /// The relation fork of the page.
    pub rel: RelTag,
    /// The page's number.
    pub block: BlockNumber,
    /// What went wrong.
    pub failure: RedoFailure,
}

/// What went wrong when a record met a page.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RedoFailure {
    /// The engine does not know this kind of record.
    #[error("this kind of record is not supported by the native redo engine")]
    Unsupported,
    /// The record is known, but not with a block in this role.
    #[error("the record type has no block reference {0}")]
    UnexpectedReference(u8),
    /// The record lacks a block reference that its type requires.
    #[error("the record lacks block reference {0}")]
    MissingReference(u8),
    /// The record's data end before the named member.
    #[error("record data end too early: {what} needs {needed} more bytes")]
    Truncated {
        /// The member being read.
        what: &'static str,
        /// Bytes missing.
        needed: usize,
    },
    /// The record's data contradict themselves.
    #[error("invalid record: {0}")]
    BadRecord(&'static str),
    /// An offset or length leads outside the page.
    #[error("{length} bytes at offset {at} are outside the page")]
    OutOfPage {
        /// First byte.
        at: usize,
        /// Number of bytes.
        length: usize,
    },
    /// The page header is not that of an initialised page.
    #[error("page header is corrupt: lower {lower}, upper {upper}, special {special}")]
    BadHeader {
        /// End of the line pointers.
        lower: u16,
        /// Start of the tuple data.
        upper: u16,
        /// Start of the special area.
        special: u16,
    },
    /// A line pointer is missing or in the wrong state.
    #[error("line pointer {offset} {problem}")]
    BadItem {
        /// Its 1-based number.
        offset: u16,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A new item does not fit.
    #[error("an item of {length} bytes does not fit the page")]
    PageFull {
        /// Length of the item.
        length: usize,
    },
    /// The page's own content contradicts the record.
    #[error("page content does not fit the record: {0}")]
    BadPage(&'static str),
    /// The page image in the record cannot be restored.
    #[error(transparent)]
    Image(#[from] ImageError),
}
