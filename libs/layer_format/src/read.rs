//! Reading values: adjacent blobs are fetched together, up to a bound.
//!
//! A blob's end is the next one's offset in index order, so a plan knows every length without
//! touching the values.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::blob;
use crate::block::{BLOCK_SIZE, BlockReader};
use crate::error::{LayerFileError, LayerFileReason, at};
use crate::summary::{Summary, VALUES_START};

/// Longest blob header.
const MAX_HEADER_BYTES: u64 = 4;

/// A value found in an index: what it is for, and its bytes in the file, header included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBlob<M> {
    /// Whatever the caller needs to recognise the value.
    pub meta: M,
    /// Where it is.
    pub range: Range<u64>,
}

/// Offset just after the last value of a file.
pub(crate) fn values_end(summary: &Summary) -> u64 {
    u64::from(summary.index_start_block) * BLOCK_SIZE as u64
}

/// Offset just after the last value, which starts at `offset`. The index does not tell, as the
/// values are padded to a block; the value's own header does.
pub(crate) fn last_value_end(
    blocks: &impl BlockReader,
    summary: &Summary,
    offset: u64,
) -> Result<u64, LayerFileError> {
    let limit = values_end(summary);
    let head_end = offset.saturating_add(MAX_HEADER_BYTES).min(limit);
    let head = read_range(blocks, &(offset..head_end))?;
    let fail = |error| at(blocks.name(), offset)(LayerFileReason::Blob(error));
    let end = offset + blob::BlobHeader::parse(&head).map_err(fail)?.total_length() as u64;
    match end.checked_sub(limit) {
        None | Some(0) => Ok(end),
        Some(needed) => Err(fail(blob::BlobError::Truncated { needed: needed as usize })),
    }
}

/// Checks that an index entry points into the values.
pub(crate) fn check_offset(
    file: &str,
    summary: &Summary,
    previous: Option<u64>,
    offset: u64,
) -> Result<(), LayerFileError> {
    let floor = previous.map_or(VALUES_START, |previous| previous + 1);
    if offset < floor || offset >= values_end(summary) {
        return Err(at(file, offset)(LayerFileReason::OffsetOutOfRange(offset)));
    }
    Ok(())
}

/// Reads the planned values, in the order of their offsets, and hands each to `sink`. Adjacent
/// ones are read at once while that takes at most `max_read_bytes`; a larger one is read alone.
/// A failure concerns only the values of one read.
pub fn read_planned<M>(
    blocks: &impl BlockReader,
    mut plan: Vec<PlannedBlob<M>>,
    max_read_bytes: u64,
    mut sink: impl FnMut(M, Result<Bytes, Arc<LayerFileError>>),
) {
    plan.sort_by_key(|blob| blob.range.start);
    let mut run: Vec<PlannedBlob<M>> = Vec::new();
    let mut run_range = 0..0;
    for blob in plan {
        let adjacent = run_range.end == blob.range.start;
        let joined = blob.range.end.saturating_sub(run_range.start);
        if !run.is_empty() && adjacent && joined <= max_read_bytes {
            run_range.end = blob.range.end;
        } else {
            read_run(blocks, std::mem::take(&mut run), run_range, &mut sink);
            run_range = blob.range.clone();
        }
        run.push(blob);
    }
    read_run(blocks, run, run_range, &mut sink);
}

fn read_run<M>(
    blocks: &impl BlockReader,
    run: Vec<PlannedBlob<M>>,
    range: Range<u64>,
    sink: &mut impl FnMut(M, Result<Bytes, Arc<LayerFileError>>),
) {
    if run.is_empty() {
        return;
    }
    match read_range(blocks, &range) {
        Err(error) => {
            let error = Arc::new(error);
            for blob in run {
                sink(blob.meta, Err(Arc::clone(&error)));
            }
        }
        Ok(bytes) => {
            for blob in run {
                let start = (blob.range.start - range.start) as usize;
                let end = (blob.range.end - range.start) as usize;
                let value = blob::decode(&bytes.slice(start..end)).map_err(|error| {
                    let reason = LayerFileReason::Blob(error);
                    Arc::new(at(blocks.name(), blob.range.start)(reason))
                });
                sink(blob.meta, value);
            }
        }
    }
}

fn read_range(blocks: &impl BlockReader, range: &Range<u64>) -> Result<Bytes, LayerFileError> {
    let fail = at(blocks.name(), range.start);
    let length = blocks.length_bytes();
    if range.end > length {
        return Err(fail(LayerFileReason::Truncated { length }));
    }
    let mut buffer = vec![0; range.end.saturating_sub(range.start) as usize];
    match blocks.read_exact_at(&mut buffer, range.start) {
        Ok(()) => Ok(buffer.into()),
        Err(error) => Err(fail(LayerFileReason::Io(error))),
    }
}
