//! Tablespaces and databases: their directories, version and map files, and the relation forks that
//! the archive contains. Every tablespace of the user is a directory of the data directory.

use std::collections::BTreeSet;

use bytes::Bytes;
use pageserver_api::Key;
use postgres_ffi::page::{page_is_new, page_lsn, set_checksum};
use postgres_ffi::relmap::relmap_size;
use postgres_ffi::tablespace::{TABLESPACES_DIRECTORY, is_user_tablespace};
use postgres_ffi::{
    BLCKSZ, BlockNumber, DEFAULTTABLESPACE_OID, ForkNumber, GLOBALTABLESPACE_OID, Oid, RELSEG_SIZE,
    RelTag,
};
use tokio::io::AsyncWrite;

use super::compute_files::version_file;
use crate::keymap::KeyReader;

use super::{BATCH_KEYS, Backup, BackupKind, BasebackupError, ContentError};

impl<R: KeyReader, W: AsyncWrite + Unpin + Send> Backup<'_, R, W> {
    pub(super) async fn add_databases(&mut self) -> Result<(), BasebackupError> {
        let mut last_tablespace = None;
        for ((spcnode, dbnode), has_relmap) in self.keymap.databases().await? {
            let is_first = last_tablespace.replace(spcnode) != Some(spcnode);
            if is_first && is_user_tablespace(spcnode) {
                self.add_tablespace(spcnode).await?;
            }
            let relations = self.keymap.relations(spcnode, dbnode).await?;
            match spcnode {
                GLOBALTABLESPACE_OID => self.add_global_files(has_relmap).await?,
                _ if !has_relmap && relations.is_empty() => continue,
                _ => self.add_database_files(spcnode, dbnode, has_relmap).await?,
            }
            self.add_relations(&relations).await?;
        }
        Ok(())
    }

    /// Adds the directories of a tablespace, which need not have a database.
    async fn add_tablespace(&mut self, spcnode: Oid) -> Result<(), BasebackupError> {
        let directory = format!("{TABLESPACES_DIRECTORY}/{spcnode}");
        let version_directory = format!("{directory}/{}", self.version_directory);
        for path in [directory, version_directory] {
            self.tar.directory(&path).await.map_err(BasebackupError::Client)?;
        }
        Ok(())
    }

    /// Where the files of a database in a tablespace are, below the data directory.
    fn database_directory(&self, spcnode: Oid, dbnode: Oid) -> String {
        match spcnode {
            GLOBALTABLESPACE_OID => "global".to_owned(),
            DEFAULTTABLESPACE_OID => format!("base/{dbnode}"),
            _ => format!("{TABLESPACES_DIRECTORY}/{spcnode}/{}/{dbnode}", self.version_directory),
        }
    }

    /// The file of a relation fork, below the data directory.
    fn relation_path(&self, rel: RelTag) -> String {
        let directory = self.database_directory(rel.spcnode, rel.dbnode);
        format!("{directory}/{}{}", rel.relnode, rel.fork.suffix())
    }

    async fn add_global_files(&mut self, has_relmap: bool) -> Result<(), BasebackupError> {
        self.add_file("PG_VERSION", version_file(self.request.major).as_bytes()).await?;
        if has_relmap {
            let map = self.relation_map(GLOBALTABLESPACE_OID, 0).await?;
            self.add_file("global/pg_filenode.map", &map).await?;
        }
        Ok(())
    }

    async fn add_database_files(
        &mut self,
        spcnode: Oid,
        dbnode: Oid,
        has_relmap: bool,
    ) -> Result<(), BasebackupError> {
        let directory = self.database_directory(spcnode, dbnode);
        self.tar.directory(&directory).await.map_err(BasebackupError::Client)?;
        // Only in the tablespace that is the database's default.
        if has_relmap {
            let version = version_file(self.request.major);
            self.add_file(&format!("{directory}/PG_VERSION"), version.as_bytes()).await?;
            let map = self.relation_map(spcnode, dbnode).await?;
            self.add_file(&format!("{directory}/pg_filenode.map"), &map).await?;
        }
        Ok(())
    }

    async fn relation_map(&self, spcnode: Oid, dbnode: Oid) -> Result<Bytes, BasebackupError> {
        let map = self.keymap.relmap(spcnode, dbnode).await?;
        let expected = relmap_size(self.request.major);
        let (database, length) = (dbnode, map.len());
        if length != expected {
            return Err(ContentError::RelationMap { database, length, expected }.into());
        }
        Ok(map)
    }

    /// Unlogged relations always start with their initial content; the others are left out of
    /// the sparse kind.
    async fn add_relations(&mut self, relations: &BTreeSet<RelTag>) -> Result<(), BasebackupError> {
        for rel in relations {
            let is_unlogged = relations.contains(&rel.with_fork(ForkNumber::Init));
            match (rel.fork, self.request.kind) {
                (ForkNumber::Init, _) => {
                    self.add_fork(*rel, &self.relation_path(*rel)).await?;
                    let main = rel.with_fork(ForkNumber::Main);
                    self.add_fork(*rel, &self.relation_path(main)).await?;
                }
                (_, BackupKind::Sparse { .. }) => {}
                (ForkNumber::Main, _) if is_unlogged => {}
                // A server that starts without recovery would trust stale free space; VACUUM
                // builds the map anew.
                (ForkNumber::Fsm, BackupKind::Bootable) => {}
                (ForkNumber::VisibilityMap, BackupKind::Bootable) if is_unlogged => {}
                (_, BackupKind::Full | BackupKind::Bootable) => {
                    self.add_fork(*rel, &self.relation_path(*rel)).await?;
                }
            }
        }
        Ok(())
    }

    /// Adds the content of `rel` as `path`, `path.1` and so on.
    async fn add_fork(&mut self, rel: RelTag, path: &str) -> Result<(), BasebackupError> {
        let blocks = self.keymap.rel_size(rel).await?;
        if blocks == 0 {
            return self.add_file(path, &[]).await;
        }
        for (segment, first) in (0..blocks).step_by(RELSEG_SIZE as usize).enumerate() {
            let path = match segment {
                0 => path.to_owned(),
                _ => format!("{path}.{segment}"),
            };
            let end = blocks.min(first.saturating_add(RELSEG_SIZE));
            let size_bytes = u64::from(end - first) * BLCKSZ as u64;
            self.tar.begin_file(&path, size_bytes).await.map_err(BasebackupError::Client)?;
            self.add_blocks(rel, first, end).await?;
        }
        Ok(())
    }

    async fn add_blocks(
        &mut self,
        rel: RelTag,
        first: BlockNumber,
        end: BlockNumber,
    ) -> Result<(), BasebackupError> {
        let mut next = first;
        while next < end {
            let batch_end = end.min(next.saturating_add(BATCH_KEYS as u32));
            let keys: Vec<Key> = (next..batch_end).map(|b| Key::rel_block(rel, b)).collect();
            let pages = self.reader.get_all(&keys, self.request.lsn).await?;
            for (block, page) in (next..batch_end).zip(pages) {
                let page = self.prepare_page(rel, block, page)?;
                self.tar.append(&page).await.map_err(BasebackupError::Client)?;
            }
            next = batch_end;
        }
        Ok(())
    }

    /// Checks a page and, for a server that will check it too, stamps its checksum.
    fn prepare_page(
        &self,
        rel: RelTag,
        block: BlockNumber,
        page: Bytes,
    ) -> Result<Bytes, ContentError> {
        let length = page.len();
        let mut bytes: [u8; BLCKSZ] =
            page.as_ref().try_into().map_err(|_| ContentError::NotAPage { rel, block, length })?;
        if self.request.kind != BackupKind::Bootable || page_is_new(&bytes) {
            return Ok(page);
        }
        let (page_lsn, lsn) = (page_lsn(&bytes), self.request.lsn);
        if page_lsn > lsn {
            return Err(ContentError::PageFromTheFuture { rel, block, page_lsn, lsn });
        }
        if !self.has_checksums {
            return Ok(page);
        }
        set_checksum(&mut bytes, block);
        Ok(Bytes::copy_from_slice(&bytes))
    }
}
