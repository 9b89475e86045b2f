use super::*;

fn empty() -> Box<[u8; BLCKSZ]> {
    let mut bytes = Box::new([0xEE; BLCKSZ]);
    Page::new(&mut bytes).init(16).unwrap();
    bytes
}

fn item(page: &Page, offset: u16) -> Vec<u8> {
    let (at, length) = page.stored_item(offset).unwrap();
    page.slice(at, length).unwrap().to_vec()
}

#[test]
fn an_initialised_page_is_empty_and_has_its_special_area() {
    let mut bytes = empty();
    let page = Page::new(&mut bytes);
    assert!(!page.is_new());
    assert_eq!(page.max_offset(), Ok(0));
    assert_eq!(page.special(16), Ok(BLCKSZ - 16));
    assert!(page.special(8).is_err());
}

#[test]
fn the_lsn_is_stored_high_half_first() {
    let mut bytes = empty();
    Page::new(&mut bytes).set_lsn(Lsn(0x0000_0001_0200_0003)).unwrap();
    assert_eq!(bytes[..8], [1, 0, 0, 0, 3, 0, 0, 2]);
    assert_eq!(Page::new(&mut bytes).lsn(), Ok(Lsn(0x0000_0001_0200_0003)));
}

#[test]
fn an_inserted_item_shifts_later_line_pointers() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    page.insert_item(1, b"first").unwrap();
    page.insert_item(2, b"third").unwrap();
    page.insert_item(2, b"second").unwrap();
    assert_eq!(item(&page, 2), b"second");
    assert_eq!(item(&page, 3), b"third");
    assert_eq!(page.line_pointer(1).unwrap().at, (BLCKSZ - 16 - 8) as u16);
}

#[test]
fn an_item_may_not_leave_a_gap() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    assert!(page.insert_item(2, b"x").is_err());
    assert!(page.put_item(0, b"x").is_err());
}

#[test]
fn an_item_that_does_not_fit_is_refused() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    assert_eq!(page.insert_item(1, &[0; 8150]), Err(RedoFailure::PageFull { length: 8150 }));
}

#[test]
fn deleting_an_index_item_moves_the_data_below_it_up() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    for (offset, text) in [(1, "aaaaaaaa"), (2, "bbbbbbbbbbbb"), (3, "cc")] {
        page.insert_item(offset, text.as_bytes()).unwrap();
    }
    page.delete_index_item(2).unwrap();
    assert_eq!(page.max_offset(), Ok(2));
    assert_eq!(item(&page, 1), b"aaaaaaaa");
    assert_eq!(item(&page, 2), b"cc");
    assert_eq!(page.bounds().unwrap().upper, BLCKSZ - 16 - 16);
}

#[test]
fn deleting_many_index_items_packs_the_rest_in_pointer_order() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    for offset in 1..=6u8 {
        page.insert_item(1, &[offset; 8]).unwrap();
    }
    page.delete_index_items(&[1, 3, 5]).unwrap();
    assert_eq!(item(&page, 1), [5; 8]);
    assert_eq!(item(&page, 3), [1; 8]);
    assert_eq!(page.line_pointer(1).unwrap().at, (BLCKSZ - 16 - 8) as u16);
}

#[test]
fn item_numbers_to_delete_must_ascend() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    page.insert_item(1, b"a").unwrap();
    page.insert_item(2, b"b").unwrap();
    assert!(page.delete_index_items(&[2, 1]).is_err());
}

#[test]
fn overwriting_with_a_longer_item_moves_the_data_below_it_down() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    page.insert_item(1, b"short").unwrap();
    page.insert_item(2, b"below").unwrap();
    page.overwrite_item(1, b"a much longer item").unwrap();
    assert_eq!(item(&page, 1), b"a much longer item");
    assert_eq!(item(&page, 2), b"below");
}

#[test]
fn repairing_fragmentation_cuts_off_unused_line_pointers() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    for offset in 1..=4 {
        page.put_item(offset, &[offset as u8; 10]).unwrap();
    }
    page.set_line_pointer(2, LinePointer::UNUSED).unwrap();
    page.set_line_pointer(4, LinePointer::UNUSED).unwrap();
    page.repair_fragmentation().unwrap();
    assert_eq!(page.max_offset(), Ok(3));
    assert_eq!(item(&page, 3), [3; 10]);
    assert_eq!(page.flags().unwrap() & HAS_FREE_LINES, HAS_FREE_LINES);
}

#[test]
fn truncating_line_pointers_keeps_the_first() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    page.put_item(1, b"x").unwrap();
    page.set_line_pointer(1, LinePointer::UNUSED).unwrap();
    page.truncate_line_pointers().unwrap();
    assert_eq!(page.max_offset(), Ok(1));
}

#[test]
fn an_item_that_leads_outside_the_tuple_area_is_refused() {
    let mut bytes = empty();
    let mut page = Page::new(&mut bytes);
    page.put_item(1, b"x").unwrap();
    let outside = LinePointer { at: 8190, state: ItemState::Normal, length: 20 };
    page.set_line_pointer(1, outside).unwrap();
    assert!(page.normal_item(1).is_err());
}
