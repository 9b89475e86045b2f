//! The stretch of recent WAL that is kept in memory.
//!
//! Everything that is not committed stays; committed WAL stays while there is room, for
//! safekeepers that are a little behind. Older WAL comes from another safekeeper.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use utils::Lsn;

/// The window. Contiguous from `start` to `end`.
#[derive(Debug)]
pub struct WalWindow {
    /// With the position of each one's first byte, ascending.
    chunks: VecDeque<(Lsn, Bytes)>,
    start: Lsn,
    end: Lsn,
    commit_lsn: Lsn,
    capacity_bytes: u64,
}

/// Bytes that do not continue the window.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("WAL of {received} arrived when that of {expected} was due")]
pub struct WalGap {
    /// What was due.
    pub expected: Lsn,
    /// What came.
    pub received: Lsn,
}

impl WalWindow {
    /// An empty window at `start`. `capacity_bytes` bounds what is kept.
    pub fn new(start: Lsn, capacity_bytes: u64) -> Self {
        Self { chunks: VecDeque::new(), start, end: start, commit_lsn: start, capacity_bytes }
    }

    /// First position in the window.
    pub fn start(&self) -> Lsn {
        self.start
    }

    /// Position after the last byte.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// Whether more WAL may be taken in: what cannot be dropped yet is within the capacity.
    pub fn has_room(&self) -> bool {
        self.end.saturating_sub(self.commit_lsn.max(self.start)) < self.capacity_bytes
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, position: Lsn, bytes: Bytes) -> Result<(), WalGap> {
        if position != self.end {
            return Err(WalGap { expected: self.end, received: position });
        }
        self.end = self.end + bytes.len() as u64;
        if !bytes.is_empty() {
            self.chunks.push_back((position, bytes));
        }
        self.trim();
        Ok(())
    }

    /// Learns what is committed and may be dropped.
    pub fn set_commit_lsn(&mut self, commit_lsn: Lsn) {
        self.commit_lsn = self.commit_lsn.max(commit_lsn);
        self.trim();
    }

    /// The bytes of `begin..end`, or `None` when the window does not hold all of them.
    pub fn read(&self, begin: Lsn, end: Lsn) -> Option<Bytes> {
        if begin < self.start || end > self.end || begin > end {
            return None;
        }
        // The window holds many small chunks, and most reads are of its end.
        let first = self.chunks.partition_point(|(at, chunk)| *at + chunk.len() as u64 <= begin);
        let chunks = self.chunks.range(first..).take_while(|(at, _)| *at < end);
        let parts: Vec<Bytes> = chunks
            .map(|(at, chunk)| {
                let from = begin.saturating_sub(*at) as usize;
                let to = chunk.len().min((end.0 - at.0) as usize);
                chunk.slice(from..to)
            })
            .collect();
        match <[Bytes; 1]>::try_from(parts) {
            Ok([single]) => Some(single),
            Err(parts) => {
                let mut joined = BytesMut::with_capacity((end.0 - begin.0) as usize);
                parts.iter().for_each(|part| joined.extend_from_slice(part));
                Some(joined.freeze())
            }
        }
    }

    /// Drops the oldest chunks that are committed, as far as the capacity demands.
    fn trim(&mut self) {
        while self.end.0 - self.start.0 > self.capacity_bytes {
            let Some((at, oldest)) = self.chunks.front() else { break };
            let chunk_end = *at + oldest.len() as u64;
            if chunk_end > self.commit_lsn {
                break;
            }
            self.start = chunk_end;
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
