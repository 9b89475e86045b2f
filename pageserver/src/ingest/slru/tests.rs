use super::*;

#[test]
fn members_are_split_at_page_ends() {
    let members: Vec<(u32, u32)> = (0..2000).map(|n| (n, 1)).collect();
    let pages = members_by_page(1600, &members);
    let shape: Vec<_> = pages.iter().map(|p| (p.page, p.offset, p.members.len())).collect();
    assert_eq!(shape, [(0, 1600, 36), (1, 1636, 1636), (2, 3272, 328)]);
}

#[test]
fn members_are_split_where_positions_wrap_around() {
    let pages = members_by_page(u32::MAX, &[(7, 1), (8, 1)]);
    let last = MembersOnPage { page: u32::MAX / 1636, offset: u32::MAX, members: vec![(7, 1)] };
    assert_eq!(pages, [last, MembersOnPage { page: 0, offset: 0, members: vec![(8, 1)] }]);
}

#[test]
fn truncated_segments_wrap_around() {
    let last = u32::MAX;
    assert_eq!(members_segments_between(last, 0), [MAX_MEMBERS_SEGMENT]);
    assert_eq!(members_segments_between(0, 1636 * 32 * 2), [0, 1]);
    assert_eq!(members_segments_between(5, 9), [] as [u32; 0]);
}

#[test]
fn a_page_made_for_one_entry_is_zero_elsewhere() {
    let page = page_with_entry((2048, 77));
    assert_eq!(page[..4], 77u32.to_le_bytes());
    assert_eq!(page.len(), 8192);
    assert!(page[4..].iter().all(|byte| *byte == 0));
}
