//! Changes to SLRU segments and their pages.

use std::collections::BTreeSet;

use bytes::Bytes;
use pageserver_api::{Key, WalRecord};
use postgres_ffi::slru::SlruPage;
use postgres_ffi::{BLCKSZ, BlockNumber, SlruKind};

use super::{DatadirModification, ModificationError};
use crate::keymap::directories::{Directory, SlruDirectory};
use crate::keymap::directory_counts::DirectoryKind;
use crate::keymap::store::KeyStore;

static ZERO_PAGE: [u8; BLCKSZ] = [0; BLCKSZ];

impl<S: KeyStore> DatadirModification<'_, S> {
    pub(super) fn put_slru_segments(&mut self, kind: SlruKind, segments: BTreeSet<u32>) {
        let directory = SlruDirectory(segments);
        let content = (directory.encode(), directory.0.len());
        self.put_directory(Key::slru_dir(kind), DirectoryKind::of_slru(kind), content);
    }

    /// Creates a segment of `pages` pages.
    pub async fn create_slru_segment(
        &mut self,
        kind: SlruKind,
        segment: u32,
        pages: BlockNumber,
    ) -> Result<(), ModificationError> {
        let mut segments = self.keymap().slru_segments(kind).await?;
        if !segments.insert(segment) {
            return Err(ModificationError::SlruSegmentExists { kind, segment });
        }
        self.put_slru_segments(kind, segments);
        self.put_size(Key::slru_segment_size(kind, segment), pages);
        Ok(())
    }

    /// Drops segments; absent ones are only warned about.
    pub async fn drop_slru_segments(
        &mut self,
        kind: SlruKind,
        dropped: &[u32],
    ) -> Result<(), ModificationError> {
        let mut segments = self.keymap().slru_segments(kind).await?;
        for segment in dropped {
            if !segments.remove(segment) {
                tracing::warn!("slru segment {kind:?}/{segment} does not exist");
            }
            self.drop_range(Key::slru_segment_range(kind, *segment));
        }
        self.put_slru_segments(kind, segments);
        Ok(())
    }

    /// Whether a page exists.
    pub async fn slru_page_exists(
        &self,
        kind: SlruKind,
        page: SlruPage,
    ) -> Result<bool, ModificationError> {
        let keymap = self.keymap();
        Ok(keymap.slru_segment_exists(kind, page.segment).await?
            && page.block < keymap.slru_segment_size(kind, page.segment).await?)
    }

    /// Sets a page to an image. The segment is created or extended as needed; pages between
    /// its old end and this one become zero.
    pub async fn put_slru_page_image(
        &mut self,
        kind: SlruKind,
        page: SlruPage,
        image: Bytes,
    ) -> Result<(), ModificationError> {
        let SlruPage { segment, block } = page;
        let old = if self.keymap().slru_segment_exists(kind, segment).await? {
            self.keymap().slru_segment_size(kind, segment).await?
        } else {
            self.create_slru_segment(kind, segment, 0).await?;
            0
        };
        if block >= old {
            self.put_size(Key::slru_segment_size(kind, segment), block + 1);
        }
        for gap in old..block {
            self.put_image(Key::slru_block(kind, segment, gap), Bytes::from_static(&ZERO_PAGE));
        }
        self.put_image(Key::slru_block(kind, segment, block), image);
        Ok(())
    }

    /// Sets a page to zeros; see [`DatadirModification::put_slru_page_image`].
    pub async fn put_slru_zero_page(
        &mut self,
        kind: SlruKind,
        page: SlruPage,
    ) -> Result<(), ModificationError> {
        self.put_slru_page_image(kind, page, Bytes::from_static(&ZERO_PAGE)).await
    }

    /// Adds a change to a page, which must exist.
    pub fn put_slru_record(&mut self, kind: SlruKind, page: SlruPage, record: WalRecord) {
        self.put_record(Key::slru_block(kind, page.segment, page.block), record);
    }
}
