use bytes::Bytes;
use postgres_ffi::{BLCKSZ, ForkNumber, PgMajor, RelTag};
use utils::Lsn;
use wal_decoder::record::{BlockReference, DecodedRecord};

use crate::page::Page;
use crate::{Outcome, RedoFailure, redo_record};

const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main };
const BLOCK: u32 = 7;

static NO_BYTES: Bytes = Bytes::new();

/// Records borrow their data; those of a few tests may as well live for ever.
fn kept(data: Vec<u8>) -> &'static [u8] {
    Box::leak(data.into_boxed_slice())
}

fn reference(id: u8, rel: RelTag, block: u32, data: Vec<u8>) -> BlockReference<'static> {
    BlockReference { id, rel, block, will_init: false, image: None, data: kept(data) }
}

fn record(
    rmid: u8,
    info: u8,
    main: Vec<u8>,
    blocks: Vec<BlockReference<'static>>,
) -> DecodedRecord<'static> {
    DecodedRecord {
        raw: &NO_BYTES,
        xid: 700,
        prev: Lsn(0),
        info,
        rmid,
        origin_id: 0,
        toplevel_xid: None,
        blocks: blocks.into(),
        main_data: kept(main),
    }
}

/// INSERT of the user data `body` at `offset`, on a fresh page.
fn insert(offset: u16, body: &[u8]) -> DecodedRecord<'static> {
    let mut data = vec![1, 0, 0, 8, 24, 0];
    data.extend_from_slice(body);
    let mut main = offset.to_le_bytes().to_vec();
    main.push(0);
    let mut block = reference(0, REL, BLOCK, data);
    block.will_init = offset == 1;
    record(10, if offset == 1 { 0x80 } else { 0 }, main, vec![block])
}

fn apply(page: &mut [u8; BLCKSZ], record: &DecodedRecord, lsn: u64) -> Outcome {
    redo_record(page, REL, BLOCK, record, Lsn(lsn), PgMajor::V15).unwrap()
}

fn page_with_one_tuple() -> Box<[u8; BLCKSZ]> {
    let mut page = Box::new([0; BLCKSZ]);
    assert_eq!(apply(&mut page, &insert(1, b"hello"), 100), Outcome::Applied);
    page
}

#[test]
fn an_insert_over_nothing_gives_the_known_page() {
    let mut bytes = page_with_one_tuple();
    let at = BLCKSZ - 32;
    assert_eq!(bytes[at..at + 4], 700u32.to_le_bytes());
    assert_eq!(bytes[at + 12..at + 18], [0, 0, 7, 0, 1, 0]);
    assert_eq!(bytes[at + 24..at + 29], *b"hello");
    let page = Page::new(&mut bytes);
    assert_eq!(page.lsn(), Ok(Lsn(100)));
    assert_eq!(page.line_pointer(1).unwrap().length, 29);
}

#[test]
fn a_record_for_another_block_leaves_the_page_alone() {
    let mut page = page_with_one_tuple();
    let before = page.clone();
    let outcome = redo_record(&mut page, REL, 8, &insert(1, b"x"), Lsn(200), PgMajor::V15);
    assert_eq!(outcome, Ok(Outcome::Unrelated));
    assert_eq!(page, before);
}

#[test]
fn a_record_not_newer_than_the_page_is_skipped() {
    let mut page = page_with_one_tuple();
    assert_eq!(apply(&mut page, &insert(2, b"late"), 100), Outcome::AlreadyApplied);
}

#[test]
fn a_record_for_a_missing_page_is_skipped() {
    let mut page = Box::new([0; BLCKSZ]);
    assert_eq!(apply(&mut page, &insert(2, b"late"), 100), Outcome::MissingPage);
}

#[test]
fn an_insert_into_a_used_slot_is_refused() {
    let mut page = page_with_one_tuple();
    let mut again = insert(1, b"x");
    again.info = 0;
    again.blocks[0].will_init = false;
    let error = redo_record(&mut page, REL, BLOCK, &again, Lsn(200), PgMajor::V15).unwrap_err();
    assert_eq!(error.failure, RedoFailure::BadItem { offset: 1, problem: "is in use" });
    assert_eq!(error.resource_manager, "Heap");
}

#[test]
fn a_delete_stamps_xmax_and_marks_the_page_prunable() {
    let mut page = page_with_one_tuple();
    let main = [701u32.to_le_bytes().as_slice(), &[1, 0, 0x10, 0]].concat();
    let delete = record(10, 0x10, main, vec![reference(0, REL, BLOCK, Vec::new())]);
    apply(&mut page, &delete, 200);
    let at = BLCKSZ - 32;
    assert_eq!(page[at + 4..at + 8], 701u32.to_le_bytes());
    assert_eq!(Page::new(&mut page).prune_xid(), Ok(700));
}

#[test]
fn an_update_borrows_prefix_and_suffix_from_the_old_tuple() {
    let mut page = page_with_one_tuple();
    // Prefix "he", suffix "o": the record carries the null bitmap byte and "XYZ".
    let data = vec![2, 0, 1, 0, 1, 0x80, 0, 0x28, 24, 0, b'X', b'Y', b'Z'];
    let mut main = 701u32.to_le_bytes().to_vec();
    main.extend([1, 0, 0, 0x60, 0, 0, 0, 0, 2, 0]);
    let update = record(10, 0x40, main, vec![reference(0, REL, BLOCK, data)]);
    apply(&mut page, &update, 200);
    let view = Page::new(&mut page);
    let (at, length) = view.normal_item(2).unwrap();
    assert_eq!(length, 23 + 1 + 6);
    assert_eq!(view.slice(at + 24, 6).unwrap(), b"heXYZo");
    let (old, _) = view.normal_item(1).unwrap();
    assert_eq!(view.slice(old + 12, 6).unwrap(), [0, 0, 7, 0, 2, 0]);
}

#[test]
fn an_update_with_a_prefix_longer_than_the_old_tuple_is_refused() {
    let mut page = page_with_one_tuple();
    let data = vec![200, 0, 1, 0x80, 0, 0x28, 24, 0];
    let mut main = 701u32.to_le_bytes().to_vec();
    main.extend([1, 0, 0, 0x20, 0, 0, 0, 0, 2, 0]);
    let update = record(10, 0x40, main, vec![reference(0, REL, BLOCK, data)]);
    assert!(redo_record(&mut page, REL, BLOCK, &update, Lsn(200), PgMajor::V15).is_err());
}

fn visible(flags: u8) -> DecodedRecord<'static> {
    let map = REL.with_fork(ForkNumber::VisibilityMap);
    let blocks = vec![reference(0, map, 0, Vec::new()), reference(1, REL, BLOCK, Vec::new())];
    record(9, 0x40, vec![0, 0, 0, 0, flags], blocks)
}

#[test]
fn visible_initialises_the_map_page_and_sets_the_bits() {
    let map = REL.with_fork(ForkNumber::VisibilityMap);
    let mut page = Box::new([0; BLCKSZ]);
    redo_record(&mut page, map, 0, &visible(3), Lsn(300), PgMajor::V15).unwrap();
    assert_eq!(page[24 + 1], 3 << 6);
    assert_eq!(Page::new(&mut page).lsn(), Ok(Lsn(300)));
    assert_eq!(crate::clear_visibility_map_bits(&mut page, BLOCK, 3), Ok(true));
    assert_eq!(page[24 + 1], 0);
    assert_eq!(crate::clear_visibility_map_bits(&mut page, BLOCK, 3), Ok(false));
}

#[test]
fn visible_marks_the_heap_page_without_stamping_it() {
    let mut page = page_with_one_tuple();
    apply(&mut page, &visible(1), 300);
    let view = Page::new(&mut page);
    assert_eq!(view.flags().unwrap() & 4, 4);
    assert_eq!(view.lsn(), Ok(Lsn(100)));
}

#[test]
fn a_delete_with_a_map_reference_clears_the_bits_of_its_block() {
    let map = REL.with_fork(ForkNumber::VisibilityMap);
    let mut page = Box::new([0; BLCKSZ]);
    redo_record(&mut page, map, 0, &visible(3), Lsn(300), PgMajor::V18).unwrap();
    let main = [701u32.to_le_bytes().as_slice(), &[1, 0, 0, 1]].concat();
    let blocks = vec![reference(0, REL, BLOCK, Vec::new()), reference(1, map, 0, Vec::new())];
    let delete = record(10, 0x10, main, blocks);
    redo_record(&mut page, map, 0, &delete, Lsn(400), PgMajor::V18).unwrap();
    assert_eq!(page[24 + 1], 0);
}

#[test]
fn an_unknown_resource_manager_is_a_typed_error() {
    let mut page = page_with_one_tuple();
    let unknown = record(200, 0, Vec::new(), vec![reference(0, REL, BLOCK, Vec::new())]);
    let error = redo_record(&mut page, REL, BLOCK, &unknown, Lsn(200), PgMajor::V15).unwrap_err();
    assert_eq!(error.failure, RedoFailure::Unsupported);
    let text = error.to_string();
    assert!(text.contains("custom") && text.contains("0/C8"), "{text}");
}
