use utils::TenantId;

use super::*;

const PERIOD: Duration = Duration::from_secs(100);

fn shard() -> TenantShardId {
    TenantShardId::unsharded(TenantId::generate())
}

#[test]
fn a_new_location_is_due_within_its_first_period() {
    let (mut schedule, id, start) = (Schedule::default(), shard(), Instant::now());
    schedule.take_due(vec![(id, PERIOD, ())], start);
    let due = schedule.take_due(vec![(id, PERIOD, ())], start + PERIOD);
    assert_eq!(due.len(), 1);
}

#[test]
fn a_location_is_due_once_per_period() {
    let (mut schedule, id, start) = (Schedule::default(), shard(), Instant::now());
    schedule.due.insert(id, start);
    assert_eq!(schedule.take_due(vec![(id, PERIOD, ())], start).len(), 1);
    assert!(schedule.take_due(vec![(id, PERIOD, ())], start + PERIOD / 2).is_empty());
    assert_eq!(schedule.take_due(vec![(id, PERIOD, ())], start + PERIOD * 2).len(), 1);
}

#[test]
fn a_shorter_period_counts_at_once() {
    let (mut schedule, id, start) = (Schedule::default(), shard(), Instant::now());
    schedule.due.insert(id, start + PERIOD);
    let short = Duration::from_secs(1);
    assert!(schedule.take_due(vec![(id, short, ())], start).is_empty());
    assert_eq!(schedule.take_due(vec![(id, short, ())], start + short * 2).len(), 1);
}

#[test]
fn locations_that_are_gone_are_forgotten() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    schedule.due.insert(shard(), start);
    assert!(schedule.take_due(Vec::<(_, _, ())>::new(), start).is_empty());
    assert!(schedule.due.is_empty());
}

#[test]
fn the_longest_overdue_comes_first() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    let (early, late) = (shard(), shard());
    schedule.due.insert(early, start);
    schedule.due.insert(late, start + Duration::from_secs(1));
    let present = vec![(late, PERIOD, ()), (early, PERIOD, ())];
    let due = schedule.take_due(present, start + PERIOD);
    let order: Vec<_> = due.into_iter().map(|(id, ..)| id).collect();
    assert_eq!(order, [early, late]);
}

#[test]
fn looks_are_neither_too_rare_nor_too_frequent() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    assert_eq!(schedule.wait(now), LOOK_INTERVAL.1);
    schedule.due.insert(shard(), now);
    assert_eq!(schedule.wait(now), LOOK_INTERVAL.0);
}
