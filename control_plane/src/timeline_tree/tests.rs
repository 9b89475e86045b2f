use super::*;

fn id(number: u8) -> TimelineId {
    TimelineId::from_bytes([number; 16])
}

fn timeline(number: u8, name: &str, ancestor: Option<(u8, u64)>) -> TreeTimeline {
    TreeTimeline {
        id: id(number),
        name: (!name.is_empty()).then(|| name.to_owned()),
        ancestor: ancestor.map(|(parent, lsn)| (id(parent), Lsn(lsn))),
    }
}

#[test]
fn children_hang_below_their_parents_in_order_of_id() {
    let tree = draw(&[
        timeline(4, "last", Some((1, 0x30))),
        timeline(3, "", Some((2, 0x20))),
        timeline(2, "dev", Some((1, 0x1_0000_0010))),
        timeline(1, "main", None),
        timeline(5, "leaf", Some((4, 0x40))),
    ]);
    let expected = format!(
        "main [{}]\n┣━ @1/10: dev [{}]\n┃  ┗━ @0/20: _no_name_ [{}]\n\
         ┗━ @0/30: last [{}]\n   ┗━ @0/40: leaf [{}]\n",
        id(1),
        id(2),
        id(3),
        id(4),
        id(5)
    );
    assert_eq!(tree, expected);
}

#[test]
fn a_timeline_without_its_ancestor_is_a_root() {
    assert_eq!(draw(&[timeline(2, "x", Some((1, 8)))]), format!("x [{}]\n", id(2)));
    assert_eq!(draw(&[]), "");
}
