use super::*;

#[test]
fn the_lsn_is_stored_with_its_high_half_first() {
    let mut page = [0; BLCKSZ];
    set_page_lsn(&mut page, Lsn(0x0102_0304_0506_0708));
    assert_eq!(page[..8], [4, 3, 2, 1, 8, 7, 6, 5]);
    assert_eq!(page_lsn(&page), Lsn(0x0102_0304_0506_0708));
}

#[test]
fn a_zero_page_is_new() {
    let mut page = [0; BLCKSZ];
    assert!(page_is_new(&page));
    page[15] = 0x20;
    assert!(!page_is_new(&page));
}

#[test]
fn the_checksum_ignores_its_own_field_and_depends_on_the_block() {
    let mut page = [0x5A; BLCKSZ];
    set_checksum(&mut page, 7);
    assert_eq!(stored_checksum(&page), checksum(&page, 7));
    assert_ne!(checksum(&page, 7), checksum(&page, 8));
}
