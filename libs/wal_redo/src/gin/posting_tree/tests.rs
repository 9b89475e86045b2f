use postgres_ffi::BLCKSZ;

use super::*;

/// Inserts a downlink before the first on an internal page that claims `count` of them.
fn insert_first(page: &mut [u8; BLCKSZ], count: u16) -> Result<(), RedoFailure> {
    let mut page = Page::new(page);
    init(&mut page, DATA)?;
    set_max_offset(&mut page, count)?;
    page.put(CONTENT_AT, &[1; ITEM_BYTES])?;
    let data = [&1u16.to_le_bytes()[..], &[2; ITEM_BYTES]].concat();
    insert_internal(&mut page, 0x0003_0004, &mut Reader::new(&data))
}

#[test]
fn a_downlink_moves_the_later_ones_and_the_next_leads_to_the_right_child() {
    let mut page = [0; BLCKSZ];
    insert_first(&mut page, 1).unwrap();
    assert_eq!(page[CONTENT_AT..CONTENT_AT + ITEM_BYTES], [2; ITEM_BYTES]);
    let next = &page[CONTENT_AT + ITEM_BYTES..CONTENT_AT + 2 * ITEM_BYTES];
    assert_eq!(next, [3, 0, 4, 0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(max_offset(&Page::new(&mut page)), Ok(2));
}

#[test]
fn a_page_that_claims_more_downlinks_than_fit_is_refused() {
    let mut page = [0; BLCKSZ];
    for count in [816, u16::MAX] {
        let length = (usize::from(count) + 1) * ITEM_BYTES;
        assert_eq!(insert_first(&mut page, count), Err(RedoFailure::PageFull { length }));
    }
}
