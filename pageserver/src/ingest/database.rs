//! Databases: copied and dropped.

use std::time::Instant;

use pageserver_api::Key;
use postgres_ffi::pg_constants::dbase;
use postgres_ffi::tablespace::is_user_tablespace;
use postgres_ffi::{LeReader, Oid, RelTag};
use wal_decoder::DecodedRecord;

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

/// A database in a tablespace.
#[derive(Clone, Copy, Debug)]
struct Database {
    spcnode: Oid,
    dbnode: Oid,
}

impl WalIngest {
    pub(super) async fn ingest_dbase<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let mut body = LeReader::new(record.main_data);
        match record.rmgr_info() {
            dbase::CREATE_FILE_COPY => {
                let target = read_database(&mut body)?;
                let source = read_database(&mut body)?;
                self.copy_database(source, target, modification).await
            }
            // Relation map and pages follow in records of their own.
            dbase::CREATE_WAL_LOG => Ok(()),
            dbase::DROP => {
                let dbnode = body.u32("database")?;
                for _ in 0..body.u32("tablespace count")? {
                    let spcnode = body.u32("tablespace")?;
                    if is_user_tablespace(spcnode) {
                        // It stays, although the timeline may not know of its creation.
                        modification.create_tablespace(spcnode).await?;
                    }
                    modification.drop_database(spcnode, dbnode).await?;
                }
                Ok(())
            }
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }

    async fn copy_database<S: KeyStore>(
        &self,
        source: Database,
        target: Database,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let started = Instant::now();
        // There is a record for each tablespace that holds relations of the source.
        let databases = modification.keymap().databases().await?;
        let Some(has_relmap) = databases.get(&(source.spcnode, source.dbnode)).copied() else {
            tracing::info!("nothing is stored of database {}/{}", source.spcnode, source.dbnode);
            return Ok(());
        };
        if databases.contains_key(&(target.spcnode, target.dbnode)) {
            // As PostgreSQL's redo does: a server that fails to move a database to another
            // tablespace removes what it has copied without logging that.
            modification.drop_database(target.spcnode, target.dbnode).await?;
        }
        let relations = modification.keymap().relations(source.spcnode, source.dbnode).await?;
        // Only the database's own tablespace has a relation map.
        if has_relmap {
            let relmap = modification.keymap().relmap(source.spcnode, source.dbnode).await?;
            modification.put_relmap(target.spcnode, target.dbnode, relmap).await?;
        }
        let mut blocks = 0u64;
        for rel in &relations {
            blocks += self.copy_relation(*rel, target, modification).await?;
            modification.flush_data_blocks().await?;
        }
        tracing::info!(
            "Created database {}/{}, copied {blocks} blocks in {} rels in {:?}",
            target.spcnode,
            target.dbnode,
            relations.len(),
            started.elapsed(),
        );
        Ok(())
    }

    async fn copy_relation<S: KeyStore>(
        &self,
        source: RelTag,
        target: Database,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<u64, IngestErrorKind> {
        let copy = RelTag { spcnode: target.spcnode, dbnode: target.dbnode, ..source };
        let size = modification.keymap().rel_size(source).await?;
        modification.create_relation(copy, size).await?;
        let mut copied = 0;
        for block in 0..size {
            // Placement does not depend on the database: both blocks are on the same shard.
            let key = Key::rel_block(source, block);
            if self.shard.is_key_local(&key) {
                let page = modification.keymap().get(key).await?;
                modification.put_rel_page_image(copy, block, page);
                copied += 1;
            }
        }
        Ok(copied)
    }
}

fn read_database(body: &mut LeReader) -> Result<Database, IngestErrorKind> {
    Ok(Database { dbnode: body.u32("database")?, spcnode: body.u32("tablespace")? })
}
