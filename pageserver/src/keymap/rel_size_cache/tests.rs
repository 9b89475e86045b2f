use postgres_ffi::ForkNumber;

use super::*;

const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16_384, fork: ForkNumber::Main };

#[test]
fn an_entry_is_valid_from_its_lsn_on() {
    let cache = RelSizeCache::new(Lsn(100));
    cache.set(REL, Lsn(200), 7);
    assert_eq!(cache.get(REL, Lsn(199)), None);
    assert_eq!(cache.get(REL, Lsn(200)), Some(7));
    assert_eq!(cache.get(REL, Lsn(300)), Some(7));
}

#[test]
fn a_read_of_the_past_is_not_remembered() {
    let cache = RelSizeCache::new(Lsn(100));
    cache.remember_read(REL, Lsn(99), 7);
    assert_eq!(cache.get(REL, Lsn(300)), None);
    cache.remember_read(REL, Lsn(100), 7);
    assert_eq!(cache.get(REL, Lsn(300)), Some(7));
}

#[test]
fn a_read_does_not_replace_a_newer_size() {
    let cache = RelSizeCache::new(Lsn(100));
    cache.set(REL, Lsn(200), 7);
    cache.remember_read(REL, Lsn(150), 3);
    assert_eq!(cache.get(REL, Lsn(200)), Some(7));
}

#[test]
fn a_read_from_before_a_drop_does_not_bring_the_relation_back() {
    let cache = RelSizeCache::new(Lsn(100));
    cache.set(REL, Lsn(200), 7);
    cache.remove(REL, Lsn(300));
    cache.remember_read(REL, Lsn(250), 7);
    assert_eq!(cache.get(REL, Lsn(400)), None);
}

#[test]
fn a_dropped_database_takes_its_relations_along() {
    let cache = RelSizeCache::new(Lsn(100));
    let other = RelTag { dbnode: 6, ..REL };
    cache.set(REL, Lsn(200), 7);
    cache.set(other, Lsn(200), 8);
    cache.remove_database(1663, 5, Lsn(300));
    assert_eq!(cache.get(REL, Lsn(400)), None);
    assert_eq!(cache.get(other, Lsn(400)), Some(8));
}
