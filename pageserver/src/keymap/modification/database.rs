//! Changes to the set of databases and tablespaces, and a timeline's first contents.

use bytes::Bytes;
use pageserver_api::Key;
use postgres_ffi::{Oid, SlruKind};

use super::{DatadirModification, ModificationError};
use crate::keymap::directories::{
    DbDirectory, Directory, RelDirectory, SlruDirectory, TwoPhaseDirectory,
};
use crate::keymap::store::{KeyReader, KeyStore};

impl<S: KeyStore> DatadirModification<'_, S> {
    /// The directories of a timeline with nothing in it. That of commit timestamps appears with
    /// the first of them: other implementations of the format do not know it.
    pub fn init_empty(&mut self) {
        self.put_image(Key::DB_DIR, DbDirectory::default().encode());
        self.put_image(Key::TWO_PHASE_DIR, TwoPhaseDirectory::default().encode(self.major));
        for kind in [SlruKind::Clog, SlruKind::MultiXactMembers, SlruKind::MultiXactOffsets] {
            self.put_image(Key::slru_dir(kind), SlruDirectory::default().encode());
        }
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
            self.put_image(Key::DB_DIR, DbDirectory(databases).encode());
        }
        if before.is_none() {
            self.put_image(Key::rel_dir(spcnode, dbnode), RelDirectory::default().encode());
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
        self.put_image(Key::DB_DIR, DbDirectory(databases).encode());
        self.block_delta -= i64::try_from(blocks).unwrap_or(i64::MAX);
        self.rel_size_cache().remove_database(spcnode, dbnode, self.lsn);
        self.drop_range(Key::db_range(spcnode, dbnode));
        Ok(())
    }

    /// Remembers a tablespace, which may be empty: as database 0 of it, which has no relations.
    pub async fn create_tablespace(&mut self, spcnode: Oid) -> Result<(), ModificationError> {
        let mut databases = self.keymap().databases().await?;
        if databases.insert((spcnode, 0), false).is_none() {
            self.put_image(Key::DB_DIR, DbDirectory(databases).encode());
            self.put_image(Key::rel_dir(spcnode, 0), RelDirectory::default().encode());
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
