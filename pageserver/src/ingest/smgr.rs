//! Relation files: created and truncated. (They are dropped by transaction ends.)

use bytes::Bytes;
use pageserver_api::Key;
use postgres_ffi::pg_constants::smgr;
use postgres_ffi::{BLCKSZ, BlockNumber, ForkNumber, LeReader, RelTag};
use wal_decoder::DecodedRecord;

use super::visibility_map::HEAP_BLOCKS_PER_PAGE;
use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

/// Heap blocks per bottom page of a free space map, which is also the tree's fan-out.
const FSM_SLOTS_PER_PAGE: u32 = 4069;
const FSM_TREE_DEPTH: u32 = 3;

static ZERO_PAGE: [u8; BLCKSZ] = [0; BLCKSZ];

impl WalIngest {
    pub(super) async fn ingest_smgr<S: KeyStore>(
        &mut self,
        record: &DecodedRecord,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let mut body = LeReader::new(&record.main_data);
        match record.rmgr_info() {
            smgr::CREATE => {
                let rel = read_rel(&mut body)?;
                let number = body.u32("fork")?;
                let fork = u8::try_from(number).ok().and_then(ForkNumber::from_u8).ok_or(
                    IngestErrorKind::OutOfRange { what: "fork", value: u64::from(number) },
                )?;
                create(rel.with_fork(fork), modification).await
            }
            smgr::TRUNCATE => {
                let blocks = body.u32("block count")?;
                let rel = read_rel(&mut body)?;
                self.truncate(rel, blocks, body.u32("flags")?, modification).await
            }
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }

    async fn truncate<S: KeyStore>(
        &self,
        rel: RelTag,
        blocks: BlockNumber,
        flags: u32,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        if flags & smgr::TRUNCATE_HEAP != 0 {
            modification.truncate_relation(rel, blocks).await?;
        }
        if flags & smgr::TRUNCATE_FSM != 0 {
            let page = fsm_physical_page(blocks / FSM_SLOTS_PER_PAGE);
            let partial = !blocks.is_multiple_of(FSM_SLOTS_PER_PAGE);
            self.truncate_map(rel.with_fork(ForkNumber::Fsm), page, partial, modification).await?;
        }
        if flags & smgr::TRUNCATE_VM != 0 {
            let page = blocks / HEAP_BLOCKS_PER_PAGE;
            let partial = !blocks.is_multiple_of(HEAP_BLOCKS_PER_PAGE);
            let rel = rel.with_fork(ForkNumber::VisibilityMap);
            self.truncate_map(rel, page, partial, modification).await?;
        }
        Ok(())
    }

    /// Cuts a map before `page`; if only a part of that page becomes void, the page stays and
    /// is emptied, which a map may always be.
    async fn truncate_map<S: KeyStore>(
        &self,
        rel: RelTag,
        page: BlockNumber,
        partial: bool,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let Some(size) = modification.keymap().find_rel_size(rel).await? else {
            return Ok(());
        };
        let end = page + u32::from(partial);
        if partial && page < size && self.shard.is_key_local(&Key::rel_block(rel, page)) {
            modification.put_rel_page_image(rel, page, Bytes::from_static(&ZERO_PAGE));
        }
        if size > end {
            modification.truncate_relation(rel, end).await?;
        }
        Ok(())
    }
}

/// PostgreSQL creates a file that exists already without complaint, and so does this.
async fn create<S: KeyStore>(
    rel: RelTag,
    modification: &mut DatadirModification<'_, S>,
) -> Result<(), IngestErrorKind> {
    if modification.keymap().rel_exists(rel).await? {
        tracing::debug!("relation {rel} exists already");
        return Ok(());
    }
    Ok(modification.create_relation(rel, 0).await?)
}

/// A relation's identity without fork, as records hold it.
pub(super) fn read_rel(body: &mut LeReader) -> Result<RelTag, IngestErrorKind> {
    Ok(RelTag {
        spcnode: body.u32("tablespace")?,
        dbnode: body.u32("database")?,
        relnode: body.u32("relation")?,
        fork: ForkNumber::Main,
    })
}

/// Where the `leaf`-th bottom page of a free space map lies in its file: after all bottom pages
/// before it, and after every upper page whose subtree begins at or before it.
fn fsm_physical_page(leaf: u32) -> BlockNumber {
    let mut pages = 0;
    let mut number = leaf;
    for _level in 0..FSM_TREE_DEPTH {
        pages += number + 1;
        number /= FSM_SLOTS_PER_PAGE;
    }
    pages - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_fsm_pages_precede_their_first_leaf() {
        for (leaf, page) in [(0, 2), (1, 3), (4068, 4070), (4069, 4072), (4070, 4073)] {
            assert_eq!(fsm_physical_page(leaf), page, "leaf {leaf}");
        }
    }
}
