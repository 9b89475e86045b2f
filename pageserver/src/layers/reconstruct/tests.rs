use super::*;

fn record(will_init: bool) -> Value {
    Value::WalRecord(WalRecord::Postgres { will_init, record: Bytes::from_static(b"r") })
}

#[test]
fn a_key_is_done_with_its_first_self_sufficient_value() {
    let mut state = ReconstructState::new();
    let key = Key::MIN;
    state.push(key, Lsn(30), record(false));
    assert!(state.wants(&key));
    state.push(key, Lsn(20), Value::Image(Bytes::from_static(b"i")));
    assert!(!state.wants(&key));
    assert!(state.take_newly_done().contains(&key));
    assert!(state.take_newly_done().is_empty());
    state.push(key, Lsn(10), record(false));
    let gathered = state.into_keys().remove(&key).unwrap().unwrap();
    assert_eq!(gathered.records.len(), 1);
    assert_eq!(gathered.image.unwrap().0, Lsn(20));
}

#[test]
fn a_corrupt_value_gives_its_key_up() {
    let mut state = ReconstructState::new();
    state.push_bytes(Key::MIN, Lsn(8), &Bytes::from_static(&[9; 20]));
    assert!(!state.wants(&Key::MIN));
    let error = state.into_keys().remove(&Key::MIN).unwrap().unwrap_err();
    assert!(error.to_string().contains("at 0/8 is corrupt"), "{error}");
}
