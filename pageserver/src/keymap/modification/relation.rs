//! Changes to relation forks and their blocks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use pageserver_api::{Key, WalRecord};
use postgres_ffi::{BlockNumber, Oid, RelTag};

use super::{DatadirModification, ModificationError};
use crate::keymap::directories::RelDirectory;
use crate::keymap::store::{KeyReader, KeyStore};

impl<S: KeyStore> DatadirModification<'_, S> {
    /// Creates a relation fork, and its database's directory if that is new.
    pub async fn create_relation(
        &mut self,
        rel: RelTag,
        blocks: BlockNumber,
    ) -> Result<(), ModificationError> {
        if rel.relnode == 0 {
            return Err(ModificationError::InvalidRelnode(rel));
        }
        let mut entries = self.rel_directory_or_new(rel).await?;
        if !entries.0.insert((rel.relnode, rel.fork as u8)) {
            return Err(ModificationError::RelationExists(rel));
        }
        self.put_relations(rel.spcnode, rel.dbnode, &entries);
        self.put_size(Key::rel_size(rel), blocks);
        self.effects.added_blocks += i64::from(blocks);
        self.rel_size_cache().set(rel, self.lsn, blocks);
        Ok(())
    }

    async fn rel_directory_or_new(
        &mut self,
        rel: RelTag,
    ) -> Result<RelDirectory, ModificationError> {
        let mut databases = self.keymap().databases().await?;
        if databases.contains_key(&(rel.spcnode, rel.dbnode)) {
            let relations = self.keymap().relations(rel.spcnode, rel.dbnode).await?;
            return Ok(rel_directory(&relations));
        }
        databases.insert((rel.spcnode, rel.dbnode), false);
        self.put_databases(databases);
        Ok(RelDirectory::default())
    }

    /// Sets a relation fork's size if the fork exists. Blocks beyond become unreachable.
    pub async fn truncate_relation(
        &mut self,
        rel: RelTag,
        blocks: BlockNumber,
    ) -> Result<(), ModificationError> {
        if let Some(old) = self.keymap().find_rel_size(rel).await? {
            self.set_relation_size(rel, old, blocks);
        }
        Ok(())
    }

    /// Grows a relation fork to at least `blocks`.
    pub async fn extend_relation(
        &mut self,
        rel: RelTag,
        blocks: BlockNumber,
    ) -> Result<(), ModificationError> {
        let old = self.keymap().rel_size(rel).await?;
        if blocks > old {
            self.set_relation_size(rel, old, blocks);
        }
        Ok(())
    }

    fn set_relation_size(&mut self, rel: RelTag, old: BlockNumber, new: BlockNumber) {
        self.put_size(Key::rel_size(rel), new);
        self.effects.added_blocks += i64::from(new) - i64::from(old);
        self.rel_size_cache().set(rel, self.lsn, new);
    }

    /// Drops relation forks of which any may be absent.
    pub async fn drop_relations(&mut self, rels: &[RelTag]) -> Result<(), ModificationError> {
        let mut by_database: BTreeMap<(Oid, Oid), Vec<RelTag>> = BTreeMap::new();
        for rel in rels {
            by_database.entry((rel.spcnode, rel.dbnode)).or_default().push(*rel);
        }
        for ((spcnode, dbnode), rels) in by_database {
            let mut existing = self.keymap().relations(spcnode, dbnode).await?;
            let before = existing.len();
            for rel in rels {
                if existing.remove(&rel) {
                    self.drop_relation(rel).await?;
                }
            }
            if existing.len() < before {
                self.put_relations(spcnode, dbnode, &rel_directory(&existing));
            }
        }
        Ok(())
    }

    async fn drop_relation(&mut self, rel: RelTag) -> Result<(), ModificationError> {
        self.effects.added_blocks -= i64::from(self.keymap().rel_size(rel).await?);
        self.rel_size_cache().remove(rel, self.lsn);
        self.drop_range(Key::rel_range(rel));
        Ok(())
    }

    /// Sets a block to an image.
    pub fn put_rel_page_image(&mut self, rel: RelTag, block: BlockNumber, image: Bytes) {
        self.put_image(Key::rel_block(rel, block), image);
    }

    /// Adds a change to a block.
    pub fn put_rel_record(&mut self, rel: RelTag, block: BlockNumber, record: WalRecord) {
        self.put_record(Key::rel_block(rel, block), record);
    }
}

fn rel_directory(relations: &BTreeSet<RelTag>) -> RelDirectory {
    RelDirectory(relations.iter().map(|rel| (rel.relnode, rel.fork as u8)).collect())
}
