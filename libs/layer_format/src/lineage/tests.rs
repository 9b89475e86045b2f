use super::*;

fn id(number: u8) -> TimelineId {
    TimelineId::from_bytes([number; 16])
}

#[test]
fn repeating_the_newest_ancestor_adds_nothing() {
    let mut lineage = Lineage::default();
    lineage.record_previous_ancestor(id(1));
    lineage.record_previous_ancestor(id(1));
    assert_eq!(lineage.reparenting_history(), [id(1)]);
}

#[test]
fn a_long_history_drops_its_oldest_entries_and_says_so() {
    let mut lineage = Lineage::default();
    for number in 0..120 {
        lineage.record_previous_ancestor(id(number));
    }
    assert_eq!(lineage.reparenting_history().len(), 99);
    assert_eq!(lineage.reparenting_history().first(), Some(&id(21)));
    let json = serde_json::to_string(&lineage).unwrap();
    assert!(json.contains("\"reparenting_history_truncated\":true"), "{json}");
}

#[test]
fn an_empty_lineage_is_an_empty_object() {
    assert_eq!(serde_json::to_string(&Lineage::default()).unwrap(), "{}");
}

#[test]
fn repeating_a_detachment_keeps_its_first_time() {
    let mut lineage = Lineage::default();
    let first: NaiveDateTime = "2024-06-30T11:22:33.456".parse().unwrap();
    let second: NaiveDateTime = "2025-06-30T11:22:33".parse().unwrap();
    lineage.record_detaching((id(7), Lsn(0x100)), first);
    lineage.record_detaching((id(7), Lsn(0x100)), second);
    let json = serde_json::to_string(&lineage).unwrap();
    assert!(json.contains("2024-06-30T11:22:33.456"), "{json}");
    assert!(lineage.is_previous_ancestor_lsn(Lsn(0x100)));
}
