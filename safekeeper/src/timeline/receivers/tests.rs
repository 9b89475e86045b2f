use super::*;

#[test]
fn a_closed_connection_frees_its_slot_for_the_next() {
    let registry = WalReceivers::new();
    let first = registry.register(Some(1));
    let _second = registry.register(Some(2));
    drop(first);
    let _third = registry.register(Some(3));
    let ids: Vec<_> = registry.all().iter().map(|state| state.conn_id).collect();
    assert_eq!(ids, [Some(3), Some(2)]);
}

#[test]
fn the_number_of_receivers_can_be_followed() {
    let registry = WalReceivers::new();
    let mut count = registry.subscribe_count();
    let guard = registry.register(Some(1));
    assert!(count.has_changed().unwrap());
    assert_eq!(*count.borrow_and_update(), 1);
    drop(guard);
    assert_eq!(*count.borrow_and_update(), 0);
}

#[test]
fn a_receiver_votes_until_a_leader_announces_itself() {
    let registry = WalReceivers::new();
    let guard = registry.register(Some(1));
    assert_eq!(registry.all()[0].status, WalReceiverStatus::Voting);
    guard.set_streaming();
    assert_eq!(registry.all()[0].status, WalReceiverStatus::Streaming);
}
