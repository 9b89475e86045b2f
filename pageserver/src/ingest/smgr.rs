//! Relation files: created and truncated. (They are dropped by transaction ends.)

use std::cmp::Ordering;

use bytes::Bytes;
use pageserver_api::Key;
use postgres_ffi::pg_constants::smgr;
use postgres_ffi::{BLCKSZ, BlockNumber, ForkNumber, LeReader, RelTag};
use wal_decoder::DecodedRecord;

use super::visibility_map::{HEAP_BLOCKS_PER_BYTE, HEAP_BLOCKS_PER_PAGE, PAGE_HEADER_SIZE};
use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

/// Heap blocks per bottom page of a free space map, which is also the tree's fan-out.
const FSM_SLOTS_PER_PAGE: u32 = 4069;
const FSM_TREE_DEPTH: u32 = 3;

static ZERO_PAGE: [u8; BLCKSZ] = [0; BLCKSZ];

impl WalIngest {
    pub(super) async fn ingest_smgr<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let mut body = LeReader::new(record.main_data);
        match record.rmgr_info() {
            smgr::CREATE => {
                let rel = RelTag::read(&mut body)?;
                let number = body.u32("fork")?;
                let fork = u8::try_from(number).ok().and_then(ForkNumber::from_u8).ok_or(
                    IngestErrorKind::OutOfRange { what: "fork", value: u64::from(number) },
                )?;
                create(rel.with_fork(fork), modification).await
            }
            smgr::TRUNCATE => {
                let blocks = body.u32("block count")?;
                let rel = RelTag::read(&mut body)?;
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
            self.truncate_fsm(rel.with_fork(ForkNumber::Fsm), blocks, modification).await?;
        }
        if flags & smgr::TRUNCATE_VM != 0 {
            let rel = rel.with_fork(ForkNumber::VisibilityMap);
            self.truncate_visibility_map(rel, blocks, modification).await?;
        }
        Ok(())
    }

    /// Cuts the free space map of a relation that now has `blocks` blocks. If only a part of
    /// its last page becomes void, the page is emptied: the next VACUUM fills it again.
    async fn truncate_fsm<S: KeyStore>(
        &self,
        rel: RelTag,
        blocks: BlockNumber,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let Some(size) = modification.keymap().find_rel_size(rel).await? else {
            return Ok(());
        };
        let page = fsm_physical_page(blocks / FSM_SLOTS_PER_PAGE);
        let partial = !blocks.is_multiple_of(FSM_SLOTS_PER_PAGE);
        if partial && page < size && self.shard.is_key_local(&Key::rel_block(rel, page)) {
            modification.put_rel_page_image(rel, page, Bytes::from_static(&ZERO_PAGE));
        }
        truncate_if_longer(rel, size, page + u32::from(partial), modification).await
    }

    /// Cuts the visibility map of a relation that now has `blocks` blocks. Of the last page the
    /// bits of blocks that are gone are cleared, because blocks added later must not have any.
    async fn truncate_visibility_map<S: KeyStore>(
        &self,
        rel: RelTag,
        blocks: BlockNumber,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let Some(size) = modification.keymap().find_rel_size(rel).await? else {
            return Ok(());
        };
        let page = blocks / HEAP_BLOCKS_PER_PAGE;
        let kept = blocks % HEAP_BLOCKS_PER_PAGE;
        let key = Key::rel_block(rel, page);
        if kept > 0 && page < size && self.shard.is_key_local(&key) {
            let map = modification.keymap().get(key).await?;
            modification.put_rel_page_image(rel, page, without_bits_from(&map, kept));
        }
        truncate_if_longer(rel, size, page + u32::from(kept > 0), modification).await
    }
}

async fn truncate_if_longer<S: KeyStore>(
    rel: RelTag,
    size: BlockNumber,
    end: BlockNumber,
    modification: &mut DatadirModification<'_, S>,
) -> Result<(), IngestErrorKind> {
    if size > end {
        modification.truncate_relation(rel, end).await?;
    }
    Ok(())
}

/// A visibility map page with the bits of all blocks from the `first` one of the page on
/// cleared.
fn without_bits_from(map: &[u8], first: u32) -> Bytes {
    let in_byte = HEAP_BLOCKS_PER_BYTE;
    let boundary = PAGE_HEADER_SIZE + (first / in_byte) as usize;
    let kept_bits = (1u8 << (2 * (first % in_byte))) - 1;
    let mask = |at: usize| match at.cmp(&boundary) {
        Ordering::Less => 0xFF,
        Ordering::Equal => kept_bits,
        Ordering::Greater => 0,
    };
    map.iter().enumerate().map(|(at, byte)| byte & mask(at)).collect()
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
    fn bits_of_blocks_that_are_gone_are_cleared() {
        let map = without_bits_from(&[0xFF; BLCKSZ], 5);
        assert_eq!(map[..24], [0xFF; 24]);
        assert_eq!(map[24..28], [0xFF, 0b11, 0, 0]);
        assert_eq!(map[8191], 0);
    }

    #[test]
    fn upper_fsm_pages_precede_their_first_leaf() {
        for (leaf, page) in [(0, 2), (1, 3), (4068, 4070), (4069, 4072), (4070, 4073)] {
            assert_eq!(fsm_physical_page(leaf), page, "leaf {leaf}");
        }
    }
}
