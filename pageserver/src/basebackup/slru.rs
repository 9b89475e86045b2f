//! Transaction status, multixacts and commit timestamps: the segments of the SLRUs.

use std::collections::BTreeMap;

use pageserver_api::Key;
use postgres_ffi::slru::{
    commit_ts_page, is_valid_slru_page_length, slru_page, slru_segment_file_name,
};
use postgres_ffi::{BLCKSZ, BlockNumber, SlruKind};
use tokio::io::AsyncWrite;

use crate::keymap::KeyReader;

use super::{BATCH_KEYS, Backup, BackupKind, BasebackupError, ContentError};

/// Blocks of a segment.
#[derive(Clone, Copy, Default)]
struct SegmentBlocks {
    stored: BlockNumber,
    /// How many the file has at least: further ones are zero.
    wanted: BlockNumber,
}

impl<R: KeyReader, W: AsyncWrite + Unpin + Send> Backup<'_, R, W> {
    pub(super) async fn add_slru_segments(
        &mut self,
        kinds: &[SlruKind],
    ) -> Result<(), BasebackupError> {
        let mut blocks = 0;
        for kind in kinds {
            blocks += self.add_slru(*kind).await?;
        }
        tracing::info!("Collected {blocks} SLRU blocks");
        Ok(())
    }

    /// Adds the segments of one SLRU; returns their size in blocks.
    async fn add_slru(&mut self, kind: SlruKind) -> Result<u32, BasebackupError> {
        let mut segments = BTreeMap::new();
        for segment in self.keymap.slru_segments(kind).await? {
            let stored = self.keymap.slru_segment_size(kind, segment).await?;
            segments.insert(segment, SegmentBlocks { stored, wanted: stored });
        }
        if kind == SlruKind::CommitTs
            && self.request.kind == BackupKind::Bootable
            && self.tracks_commit_timestamps
        {
            for page in self.wanted_commit_ts_pages().await?.into_iter().map(slru_page) {
                let blocks: &mut SegmentBlocks = segments.entry(page.segment).or_default();
                blocks.wanted = blocks.wanted.max(page.block + 1);
            }
        }
        let mut count = 0;
        for (segment, blocks) in segments {
            self.add_slru_segment(kind, segment, blocks).await?;
            count += blocks.wanted;
        }
        Ok(count)
    }

    /// The pages of the transactions that may still commit. A server that records commit timestamps
    /// fails without them, and not all need exist: rounding leads the next transaction past pages,
    /// and transactions may have been prepared before timestamps were recorded.
    async fn wanted_commit_ts_pages(&self) -> Result<Vec<u32>, BasebackupError> {
        let next = self.keymap.checkpoint().await?.skipped_commit_ts_pages();
        let prepared = self.keymap.two_phase_xids(self.request.major).await?;
        Ok(next.chain(prepared.into_iter().map(|xid| commit_ts_page(xid as u32))).collect())
    }

    /// Adds one segment file.
    async fn add_slru_segment(
        &mut self,
        kind: SlruKind,
        segment: u32,
        blocks: SegmentBlocks,
    ) -> Result<(), BasebackupError> {
        let mut content = Vec::with_capacity(blocks.wanted as usize * BLCKSZ);
        let keys: Vec<Key> =
            (0..blocks.stored).map(|block| Key::slru_block(kind, segment, block)).collect();
        let mut block = 0;
        for batch in keys.chunks(BATCH_KEYS) {
            for page in self.reader.get_all(batch, self.request.lsn).await? {
                let (directory, length) = (kind.directory(), page.len());
                let valid = is_valid_slru_page_length(kind, length);
                let page = page.get(..BLCKSZ).filter(|_| valid);
                let bad = ContentError::SlruPage { directory, segment, block, length };
                content.extend_from_slice(page.ok_or(bad)?);
                block += 1;
            }
        }
        content.resize(blocks.wanted as usize * BLCKSZ, 0);
        let path = format!("{}/{}", kind.directory(), slru_segment_file_name(segment));
        self.add_file(&path, &content).await
    }
}
