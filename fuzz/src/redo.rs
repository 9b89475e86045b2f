//! Inputs of the redo targets: a page and the records that are applied to it, in a form in which
//! a changed byte changes one member and nothing else.
//!
//! A raw record has lengths and a checksum that nearly every mutation breaks; here the parts of
//! a record are pieces of their own. Seeds are made from real histories of pages.

use bytes::Bytes;
use postgres_ffi::pg_constants::rmgr;
use postgres_ffi::slru::{COMMIT_TS_ENTRY_SIZE, COMMIT_TS_XACTS_PER_PAGE, commit_ts_page};
use postgres_ffi::{BLCKSZ, ForkNumber, PgMajor, RelTag};
use utils::Lsn;
use wal_decoder::record::{BlockImage, BlockReference, BlockReferences, DecodedRecord, ImageCompression};

use crate::{pieces, split_major};

/// Records of one input.
const MAX_RECORDS: usize = 64;
/// Blocks of one record; PostgreSQL allows 33.
const MAX_BLOCKS: usize = 8;
/// The relation that all blocks belong to.
const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main };
/// Newer than any page, which would otherwise count as changed already.
const FIRST_END_LSN: u64 = 1 << 62;

/// Redo does not look at a record as a whole.
static NO_BYTES: Bytes = Bytes::new();

const FLAG_WILL_INIT: u8 = 1;
const FLAG_IMAGE: u8 = 2;
const FLAG_APPLY: u8 = 4;
const FLAG_TARGET: u8 = 8;
/// Fork and compression follow in the flags.
const FORK_SHIFT: u8 = 4;
const COMPRESSION_SHIFT: u8 = 6;

const COMPRESSIONS: [ImageCompression; 4] =
    [ImageCompression::None, ImageCompression::Pglz, ImageCompression::Lz4, ImageCompression::Zstd];

/// Applies an input to its page, all records as ones of resource manager `rmid`.
pub fn run(data: &[u8], rmid: u8) {
    let Some((major, rest)) = split_major(data) else { return };
    let mut parts = pieces(rest).into_iter();
    let Some(first) = parts.next() else { return };
    let mut page = Box::new([0; BLCKSZ]);
    let given = first.len().min(BLCKSZ);
    page[..given].copy_from_slice(&first[..given]);
    for number in 0..MAX_RECORDS {
        let Some((record, target)) = read_record(&mut parts, rmid) else { break };
        let end_lsn = Lsn(FIRST_END_LSN + 8 * (number as u64 + 1));
        apply(&mut page, &record, target, end_lsn, major);
    }
}

/// Applies an input, all records as ends of transactions, to the page of commit timestamps that the
/// transaction of each is on.
pub fn run_commit_timestamps(data: &[u8]) {
    let Some((major, rest)) = split_major(data) else { return };
    let mut parts = pieces(rest).into_iter();
    let mut page = Box::new([0; BLCKSZ]);
    for _ in 0..MAX_RECORDS {
        let Some((record, _)) = read_record(&mut parts, rmgr::XACT) else { break };
        let number = commit_ts_page(record.xid);
        let mut again = page.clone();
        let result = wal_redo::set_commit_timestamps(&mut page, number, &record, major);
        let repeated =
            wal_redo::set_commit_timestamps(&mut again, number, &record, major);
        assert_eq!(result, repeated);
        assert!(page == again, "the same record gave two pages");
        // Entries fill a page but for its end.
        let used = (COMMIT_TS_XACTS_PER_PAGE * COMMIT_TS_ENTRY_SIZE) as usize;
        assert!(page[used..].iter().all(|byte| *byte == 0), "written behind the last entry");
    }
}

fn apply(
    page: &mut Box<[u8; BLCKSZ]>,
    record: &DecodedRecord,
    target: (RelTag, u32),
    end_lsn: Lsn,
    major: PgMajor,
) {
    let (rel, block) = target;
    let before = page.clone();
    let result = wal_redo::redo_record(page, rel, block, record, end_lsn, major);
    // The same record on the same page is the same page or the same error.
    let mut again = before.clone();
    let repeated = wal_redo::redo_record(&mut again, rel, block, record, end_lsn, major);
    assert_eq!(result, repeated);
    match result {
        Ok(outcome) => {
            assert!(page == &again, "{outcome:?} gave two pages");
            use wal_redo::Outcome::{AlreadyApplied, MissingPage, Unrelated};
            // Of a block that is named twice, which no server does, the outcome is the second's.
            let named = record.blocks.iter().filter(|named| (named.rel, named.block) == target);
            if named.count() < 2 && matches!(outcome, AlreadyApplied | MissingPage | Unrelated) {
                assert!(page == &before, "{outcome:?} changed the page");
            }
            let mut masked = page.clone();
            let _ = wal_redo::consistency::mask(&mut masked, block, record.rmid);
        }
        // After an error the page's content is unspecified.
        Err(_) => *page = before,
    }
}

/// A record: one piece with its numbers, two for each block, one with the main data. Also which
/// of its blocks the page is.
fn read_record<'a>(
    parts: &mut impl Iterator<Item = &'a [u8]>,
    rmid: u8,
) -> Option<(DecodedRecord<'a>, (RelTag, u32))> {
    let head = parts.next()?;
    let [info, count, x0, x1, x2, x3] = *head.first_chunk::<6>()?;
    let mut blocks = BlockReferences::new();
    let mut target = (REL, 0);
    for _ in 0..usize::from(count).min(MAX_BLOCKS) {
        let (reference, is_target) = read_block(parts)?;
        if is_target || blocks.is_empty() {
            target = (reference.rel, reference.block);
        }
        blocks.push(reference);
    }
    let main_data = parts.next()?;
    let record = DecodedRecord {
        raw: &NO_BYTES,
        xid: u32::from_le_bytes([x0, x1, x2, x3]),
        prev: Lsn(0),
        info,
        rmid,
        origin_id: 0,
        toplevel_xid: None,
        blocks,
        main_data,
    };
    Some((record, target))
}

/// A block: a piece with its numbers and its image, and one with its data.
fn read_block<'a>(
    parts: &mut impl Iterator<Item = &'a [u8]>,
) -> Option<(BlockReference<'a>, bool)> {
    let (numbers, image) = parts.next()?.split_first_chunk::<10>()?;
    let data = parts.next()?;
    let [id, flags, b0, b1, b2, b3, o0, o1, l0, l1] = *numbers;
    let fork = ForkNumber::from_u8(flags >> FORK_SHIFT & 3).unwrap_or(ForkNumber::Main);
    let image = (flags & FLAG_IMAGE != 0).then(|| BlockImage {
        bytes: image,
        hole_offset: u16::from_le_bytes([o0, o1]),
        hole_length: u16::from_le_bytes([l0, l1]),
        compression: COMPRESSIONS[usize::from(flags >> COMPRESSION_SHIFT)],
        apply: flags & FLAG_APPLY != 0,
    });
    let reference = BlockReference {
        id,
        rel: REL.with_fork(fork),
        block: u32::from_le_bytes([b0, b1, b2, b3]),
        will_init: flags & FLAG_WILL_INIT != 0,
        image,
        data,
    };
    Some((reference, flags & FLAG_TARGET != 0))
}

/// The pieces of a record, as [`run`] reads them; `target` is the block that the page is. Check
/// images are left out: redo does not look at them.
pub fn encode_record(record: &DecodedRecord, target: (RelTag, u32)) -> Vec<Vec<u8>> {
    let count = record.blocks.len().min(MAX_BLOCKS) as u8;
    let mut head = vec![record.info, count];
    head.extend(record.xid.to_le_bytes());
    let mut parts = vec![head];
    for reference in record.blocks.iter().take(MAX_BLOCKS) {
        let image = reference.image.as_ref().filter(|image| image.apply);
        let mut flags = (reference.rel.fork as u8) << FORK_SHIFT;
        flags |= if reference.will_init { FLAG_WILL_INIT } else { 0 };
        flags |= if (reference.rel, reference.block) == target { FLAG_TARGET } else { 0 };
        let (mut hole_offset, mut hole_length) = (0, 0);
        if let Some(image) = image {
            let known = COMPRESSIONS.iter().position(|kind| *kind == image.compression);
            flags |= FLAG_IMAGE | FLAG_APPLY | (known.unwrap_or(0) as u8) << COMPRESSION_SHIFT;
            (hole_offset, hole_length) = (image.hole_offset, image.hole_length);
        }
        let mut numbers = vec![reference.id, flags];
        numbers.extend(reference.block.to_le_bytes());
        numbers.extend(hole_offset.to_le_bytes());
        numbers.extend(hole_length.to_le_bytes());
        numbers.extend(image.map(|image| image.bytes).unwrap_or_default());
        parts.push(numbers);
        parts.push(reference.data.to_vec());
    }
    parts.push(record.main_data.to_vec());
    parts
}
