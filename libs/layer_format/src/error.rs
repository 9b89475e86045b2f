//! The error of reading or writing a layer file: which file, where in it, and why.

use std::io;

use crate::blob::BlobError;
use crate::btree::NodeError;

/// A layer file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("layer file {file}, offset {offset}: {reason}")]
pub struct LayerFileError {
    /// Path or name of the file.
    pub file: String,
    /// Byte offset the problem was noticed at.
    pub offset: u64,
    /// What is wrong.
    #[source]
    pub reason: LayerFileReason,
}

/// Why a layer file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LayerFileReason {
    /// The operating system failed; trying again may help.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// The file is shorter than its content says.
    #[error("the file ends early: {length} bytes long")]
    Truncated {
        /// Actual length of the file.
        length: u64,
    },
    /// The first block describes another layer.
    #[error("in-file summary does not match expected summary: {0}")]
    SummaryMismatch(String),
    /// The first block cannot be a summary.
    #[error("invalid summary: {0}")]
    InvalidSummary(&'static str),
    /// An index block is malformed.
    #[error("invalid index block: {0}")]
    Node(#[source] NodeError),
    /// A value is malformed.
    #[error("invalid value: {0}")]
    Blob(#[source] BlobError),
    /// The index points outside the values.
    #[error("the index points to {0}, outside the values of the file")]
    OffsetOutOfRange(u64),
    /// The writer was given something the format cannot hold.
    #[error("{0}")]
    Refused(String),
}

impl LayerFileError {
    /// Whether reading the same file again must fail in the same way.
    pub fn is_permanent(&self) -> bool {
        !matches!(self.reason, LayerFileReason::Io(_))
    }
}

/// Attaches file and offset to a reason.
pub(crate) fn at<'a>(
    file: &'a str,
    offset: u64,
) -> impl FnOnce(LayerFileReason) -> LayerFileError + 'a {
    move |reason| LayerFileError { file: file.to_owned(), offset, reason }
}
