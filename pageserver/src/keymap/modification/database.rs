//! Changes to the set of databases and tablespaces, and a timeline's first contents.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use pageserver_api::Key;
use postgres_ffi::{Oid, SlruKind};

use super::{DatadirModification, ModificationError};
use crate::keymap::directories::{DbDirectory, Directory, RelDirectory};
use crate::keymap::directory_counts::DirectoryKind;
use crate::keymap::store::{KeyReader, KeyStore};

impl<S: KeyStore> DatadirModification<'_, S> {
    /// The directories of a timeline with nothing in it. That of commit timestamps appears with
    /// the first of them: other implementations of the format do not know it.
    pub fn init_empty(&mut self) {
        self.put_databases(BTreeMap::new());
        self.put_prepared_transactions(BTreeSet::new());
        for kind in [SlruKind::Clog, SlruKind::MultiXactMembers, SlruKind::MultiXactOffsets] {
            self.put_slru_segments(kind, BTreeSet::new());
        }
    }

    pub(super) fn put_databases(&mut self, databases: BTreeMap<(Oid, Oid), bool>) {
        let directory = DbDirectory(databases);
        let content = (directory.encode(), directory.0.len());
        self.put_directory(Key::DB_DIR, Some(DirectoryKind::Databases), content);
    }

    pub(super) fn put_relations(&mut self, spcnode: Oid, dbnode: Oid, relations: &RelDirectory) {
        let content = (relations.encode(), relations.0.len());
        let key = Key::rel_dir(spcnode, dbnode);
        self.put_directory(key, Some(DirectoryKind::Relations), content);
    }

    /// Sets a database's relation map; the database exists from then on.
    pub async fn put_relmap(
        &mut self,
        spcnode: Oid,
        dbnode: Oid,
        relmap: Bytes,
    ) -> Result<(), ModificationError> {
        let mut databases = self.keymap().databases().await?;
        let before = databases.insert((spcnode, dbnode), true);
        if before != Some(true) {
            self.put_databases(databases);
        }
        if before.is_none() {
            self.put_relations(spcnode, dbnode, &RelDirectory::default());
        }
        self.put_image(Key::relmap(spcnode, dbnode), relmap);
        Ok(())
    }

    /// Drops a database with everything in it.
    pub async fn drop_database(
        &mut self,
        spcnode: Oid,
        dbnode: Oid,
    ) -> Result<(), ModificationError> {
        let mut databases = self.keymap().databases().await?;
        if !databases.contains_key(&(spcnode, dbnode)) {
            tracing::warn!(
                "dropped dbdir for spcnode {spcnode} dbnode {dbnode} did not exist in db directory"
            );
            return Ok(());
        }
        let blocks = self.keymap().database_blocks(spcnode, dbnode).await?;
        databases.remove(&(spcnode, dbnode));
        self.put_databases(databases);
        self.effects.added_blocks -= i64::try_from(blocks).unwrap_or(i64::MAX);
        self.rel_size_cache().remove_database(spcnode, dbnode, self.lsn);
        self.drop_range(Key::db_range(spcnode, dbnode));
        Ok(())
    }

    /// Remembers a tablespace, which may be empty: as database 0 of it, which has no relations.
    pub async fn create_tablespace(&mut self, spcnode: Oid) -> Result<(), ModificationError> {
        let mut databases = self.keymap().databases().await?;
        if databases.insert((spcnode, 0), false).is_none() {
            self.put_databases(databases);
            self.put_relations(spcnode, 0, &RelDirectory::default());
        }
        Ok(())
    }

    /// Forgets a tablespace, and what is left of databases in it.
    pub async fn drop_tablespace(&mut self, spcnode: Oid) -> Result<(), ModificationError> {
        let databases = self.keymap().databases().await?;
        for (_, dbnode) in databases.into_keys().filter(|(spc, _)| *spc == spcnode) {
            self.drop_database(spcnode, dbnode).await?;
        }
        Ok(())
    }
}
