//! Every key that has a value at an LSN: what compaction makes images of.

use pageserver_api::Key;
use pageserver_api::keyspace::{KeySpace, KeySpaceRandomAccum};
use postgres_ffi::{PgMajor, SlruKind};

use super::read::{Keymap, KeymapError, two_phase_key};
use super::store::KeyReader;

/// A timeline's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionedKeys {
    /// Keys of which each has a value.
    pub dense: KeySpace,
    /// Ranges in which few keys have values: to be scanned, not to be read key by key.
    pub sparse: KeySpace,
}

impl<R: KeyReader> Keymap<'_, R> {
    /// Enumerates the keys that have values.
    pub async fn collect_keyspace(&self, major: PgMajor) -> Result<PartitionedKeys, KeymapError> {
        let mut keys = KeySpaceRandomAccum::default();
        keys.add_key(Key::DB_DIR);
        for ((spcnode, dbnode), has_relmap) in self.databases().await? {
            if has_relmap {
                keys.add_key(Key::relmap(spcnode, dbnode));
            }
            self.add_database(&mut keys, spcnode, dbnode).await?;
        }
        for kind in SlruKind::ALL {
            self.add_slru(&mut keys, kind).await?;
        }
        keys.add_key(Key::TWO_PHASE_DIR);
        for xid in self.two_phase_xids(major).await? {
            keys.add_key(two_phase_key(xid));
        }
        keys.add_key(Key::CONTROL_FILE);
        keys.add_key(Key::CHECKPOINT);
        if !self.aux_files_v1().await?.is_empty() {
            keys.add_key(Key::AUX_FILES_V1);
        }
        let mut sparse = KeySpaceRandomAccum::default();
        sparse.add_range(Key::REPL_ORIGIN_RANGE);
        sparse.add_range(Key::AUX_FILES_V2_RANGE);
        Ok(PartitionedKeys { dense: keys.into_keyspace(), sparse: sparse.into_keyspace() })
    }

    async fn add_database(
        &self,
        keys: &mut KeySpaceRandomAccum,
        spcnode: u32,
        dbnode: u32,
    ) -> Result<(), KeymapError> {
        keys.add_key(Key::rel_dir(spcnode, dbnode));
        for (rel, blocks) in self.relation_sizes(spcnode, dbnode).await? {
            keys.add_range(Key::rel_block(rel, 0)..Key::rel_block(rel, blocks));
            keys.add_key(Key::rel_size(rel));
        }
        Ok(())
    }

    async fn add_slru(
        &self,
        keys: &mut KeySpaceRandomAccum,
        kind: SlruKind,
    ) -> Result<(), KeymapError> {
        let segments = self.slru_segments(kind).await?;
        if kind == SlruKind::CommitTs && segments.is_empty() {
            // There need not be a directory.
            return Ok(());
        }
        keys.add_key(Key::slru_dir(kind));
        for segment in segments {
            let pages = self.slru_segment_size(kind, segment).await?;
            keys.add_range(
                Key::slru_block(kind, segment, 0)..Key::slru_block(kind, segment, pages),
            );
            keys.add_key(Key::slru_segment_size(kind, segment));
        }
        Ok(())
    }
}
