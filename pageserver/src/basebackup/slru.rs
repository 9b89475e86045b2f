//! Transaction status and multixacts: the segments of the SLRUs.

use pageserver_api::Key;
use postgres_ffi::slru::{is_valid_slru_page_length, slru_segment_file_name};
use postgres_ffi::{BLCKSZ, SlruKind};
use tokio::io::AsyncWrite;

use crate::keymap::KeyReader;

use super::{BATCH_KEYS, Backup, BasebackupError, ContentError};

impl<R: KeyReader, W: AsyncWrite + Unpin + Send> Backup<'_, R, W> {
    pub(super) async fn add_slru_segments(&mut self) -> Result<(), BasebackupError> {
        let mut blocks = 0;
        for kind in SlruKind::ALL {
            for segment in self.keymap.slru_segments(kind).await? {
                blocks += self.add_slru_segment(kind, segment).await?;
            }
        }
        tracing::info!("Collected {blocks} SLRU blocks");
        Ok(())
    }

    /// Adds one segment file; returns its size in blocks.
    async fn add_slru_segment(
        &mut self,
        kind: SlruKind,
        segment: u32,
    ) -> Result<u32, BasebackupError> {
        let blocks = self.keymap.slru_segment_size(kind, segment).await?;
        let mut content = Vec::with_capacity(blocks as usize * BLCKSZ);
        let keys: Vec<Key> =
            (0..blocks).map(|block| Key::slru_block(kind, segment, block)).collect();
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
        let path = format!("{}/{}", kind.directory(), slru_segment_file_name(segment));
        self.add_file(&path, &content).await?;
        Ok(blocks)
    }
}
