use std::sync::atomic::{AtomicBool, Ordering};

use utils::TenantId;

use super::*;

#[derive(Clone, Debug, Default)]
struct Fake(Arc<AtomicBool>);

impl Occupant for Fake {
    fn is_shut_down(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn role(&self) -> Role {
        Role::Attached
    }
}

fn id() -> TenantShardId {
    TenantShardId::unsharded(TenantId::generate())
}

fn open_map() -> SlotMap<Fake> {
    let map = SlotMap::default();
    map.open(BTreeMap::new());
    map
}

#[test]
fn an_unfilled_map_never_says_not_found() {
    let map = SlotMap::<Fake>::default();
    assert!(matches!(map.get(&id()), Err(SlotError::Initializing)));
    assert!(matches!(map.acquire(id(), AcquireMode::Any), Err(SlotError::Initializing)));
}

#[test]
fn a_closed_map_keeps_its_tenants_and_never_says_not_found() {
    let (map, present) = (open_map(), id());
    map.acquire(present, AcquireMode::Any).unwrap().upsert(Fake::default()).unwrap();
    map.close();
    assert!(map.get(&present).is_ok());
    assert!(matches!(map.get(&id()), Err(SlotError::ShuttingDown)));
    assert!(matches!(map.acquire(present, AcquireMode::Any), Err(SlotError::ShuttingDown)));
}

#[test]
fn a_slot_has_one_owner() {
    let (map, id) = (open_map(), id());
    let guard = map.acquire(id, AcquireMode::Any).unwrap();
    let Err(SlotError::InProgress(done)) = map.acquire(id, AcquireMode::Any) else {
        panic!("the slot is owned");
    };
    assert!(matches!(map.get(&id), Err(SlotError::InProgress(_))));
    assert!(!done.is_cancelled());
    drop(guard);
    assert!(done.is_cancelled());
}

#[test]
fn a_shard_that_must_exist_is_not_found() {
    let map = open_map();
    let error = map.acquire(id(), AcquireMode::MustExist).unwrap_err();
    assert!(error.to_string().starts_with("NotFound: tenant "), "{error}");
}

#[test]
fn an_abandoned_guard_puts_a_running_tenant_back() {
    let (map, id) = (open_map(), id());
    map.acquire(id, AcquireMode::Any).unwrap().upsert(Fake::default()).unwrap();
    drop(map.acquire(id, AcquireMode::MustExist).unwrap());
    assert!(map.get(&id).is_ok());
}

#[test]
fn an_abandoned_guard_drops_a_tenant_that_was_shut_down() {
    let (map, id) = (open_map(), id());
    map.acquire(id, AcquireMode::Any).unwrap().upsert(Fake::default()).unwrap();
    let guard = map.acquire(id, AcquireMode::MustExist).unwrap();
    guard.old().unwrap().0.store(true, Ordering::SeqCst);
    drop(guard);
    assert!(matches!(map.get(&id), Err(SlotError::NotFound(_))));
}

#[test]
#[should_panic(expected = "must be shut down")]
fn a_running_tenant_is_never_replaced() {
    let (map, id) = (open_map(), id());
    map.acquire(id, AcquireMode::Any).unwrap().upsert(Fake::default()).unwrap();
    let _ = map.acquire(id, AcquireMode::Any).unwrap().upsert(Fake::default());
}

#[test]
fn a_tenant_that_arrives_during_shutdown_is_reported() {
    let (map, id) = (open_map(), id());
    let guard = map.acquire(id, AcquireMode::Any).unwrap();
    map.close();
    assert!(matches!(guard.upsert(Fake::default()), Err(SlotError::ShuttingDown)));
    assert!(map.get(&id).is_ok());
}
