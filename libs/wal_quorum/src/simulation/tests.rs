//! Scenarios and random schedules.

mod mutations;

use super::disk::Disk;
use super::network::NetworkOptions;
use super::records::DATABASE_START;
use super::schedule::Disturbance;
use super::world::Mutation;

type World = super::World<Disk>;

fn run_random(seed: u64, mutation: Mutation, trace: bool) -> World {
    super::run_random(seed, mutation, trace)
}

use utils::Lsn;

/// Virtual time that scenarios without losses may take.
const SECOND_MS: u64 = 1000;

fn reliable_world() -> World {
    World::new(1, 3, NetworkOptions::reliable(), Mutation::None)
}

/// Runs until the first chain's compute is elected with a database.
fn wait_for_stream(world: &mut World) -> usize {
    for _ in 0..600 {
        world.run_until(world.now_ms + 50);
        if let Some(compute) = world.chains[0].compute
            && world.computes[compute].database.is_some()
            && world.computes[compute].election.is_some()
        {
            return compute;
        }
    }
    panic!("no compute was elected");
}

fn wait_for_commit(world: &mut World, compute: usize) -> Lsn {
    let end_lsn = world.computes[compute].database.as_ref().unwrap().end_lsn();
    for _ in 0..600 {
        if world.computes[compute].proposer.status().commit_lsn == end_lsn {
            return end_lsn;
        }
        world.run_until(world.now_ms + 10);
    }
    panic!("{end_lsn} was not committed: {:?}", world.computes[compute].proposer.status());
}

/// How many random schedules a test runs; `share` of what is asked for.
fn schedules(share: u64) -> u64 {
    let total = std::env::var("SIM_SCHEDULES").ok().and_then(|text| text.parse().ok());
    total.unwrap_or(4_000) / share
}

fn run_share(part: u64) {
    let first = part * 1_000_000_000;
    for seed in first..first + schedules(4) {
        let result = std::panic::catch_unwind(|| drop(run_random(seed, Mutation::None, false)));
        assert!(result.is_ok(), "seed {seed} fails; replay it with SIM_SEED={seed}");
    }
}

#[test]
fn random_schedules_keep_every_invariant_part_1() {
    run_share(0);
}

#[test]
fn random_schedules_keep_every_invariant_part_2() {
    run_share(1);
}

#[test]
fn random_schedules_keep_every_invariant_part_3() {
    run_share(2);
}

#[test]
fn random_schedules_keep_every_invariant_part_4() {
    run_share(3);
}

#[test]
fn one_seed_can_be_replayed_with_its_events() {
    let asked = std::env::var("SIM_SEED").ok().and_then(|text| text.parse().ok());
    drop(run_random(asked.unwrap_or(0), Mutation::None, asked.is_some()));
}

#[test]
fn equal_seeds_give_equal_runs() {
    let digest = |seed| run_random(seed, Mutation::None, false).digest;
    for seed in 0..20 {
        assert_eq!(digest(seed), digest(seed));
    }
    assert_ne!(digest(1), digest(2));
}

#[test]
fn syncing_an_empty_timeline_twice_gives_0_twice() {
    let mut world = reliable_world();
    world.launches = false;
    for _ in 0..2 {
        world.start_sync_and_wait();
        assert_eq!(world.chains[0].synced_lsn, Some(Lsn::INVALID));
    }
}

#[test]
fn a_hundred_small_transactions_are_committed_by_all() {
    let mut world = reliable_world();
    world.start_chain();
    let compute = wait_for_stream(&mut world);
    for _ in 0..100 {
        world.disturb(Disturbance::Write(1));
        world.run_until(world.now_ms + 5);
    }
    wait_for_commit(&mut world, compute);
    world.settle();
}

#[test]
fn a_safekeeper_that_crashes_right_after_a_write_catches_up() {
    let mut world = reliable_world();
    world.start_chain();
    let compute = wait_for_stream(&mut world);
    world.disturb(Disturbance::Write(1));
    world.disturb(Disturbance::CrashSafekeeper(0));
    world.run_until(world.now_ms + 2 * SECOND_MS);
    wait_for_commit(&mut world, compute);
    world.settle();
}

#[test]
fn a_sync_after_a_crash_of_the_compute_finds_everything_committed() {
    let mut world = reliable_world();
    world.start_chain();
    let compute = wait_for_stream(&mut world);
    world.disturb(Disturbance::Write(10));
    let committed_lsn = wait_for_commit(&mut world, compute);
    world.launches = false;
    world.disturb(Disturbance::CrashCompute);
    world.run_until(world.now_ms + 5 * SECOND_MS);
    assert_eq!(world.chains[0].synced_lsn, Some(committed_lsn));
}

#[test]
fn restarting_everything_in_turn_loses_nothing() {
    let mut world = reliable_world();
    world.start_chain();
    let plan = [
        Disturbance::Write(3),
        Disturbance::CrashSafekeeper(0),
        Disturbance::Write(2),
        Disturbance::CrashCompute,
        Disturbance::CrashSafekeeper(1),
        Disturbance::Write(5),
        Disturbance::RestartProposer,
        Disturbance::CrashSafekeeper(2),
        Disturbance::Write(1),
        Disturbance::CrashSafekeeper(0),
        Disturbance::CrashSafekeeper(1),
        Disturbance::CrashCompute,
        Disturbance::Write(4),
    ];
    for disturbance in plan {
        world.disturb(disturbance);
        world.run_until(world.now_ms + 400);
    }
    world.settle();
}

#[test]
fn ten_thousand_records_are_committed() {
    let mut world = reliable_world();
    world.max_append_bytes = crate::messages::MAX_APPEND_BYTES;
    world.start_chain();
    let compute = wait_for_stream(&mut world);
    for _ in 0..100 {
        world.disturb(Disturbance::Write(100));
        world.run_until(world.now_ms + 5);
    }
    let commit_lsn = wait_for_commit(&mut world, compute);
    assert!(commit_lsn - DATABASE_START > 80_000);
    world.settle();
}

#[test]
fn a_safekeeper_that_missed_everything_is_refilled_through_the_proposer() {
    let mut world = reliable_world();
    world.start_chain();
    world.disturb(Disturbance::CutOff(2, 20 * SECOND_MS));
    let compute = wait_for_stream(&mut world);
    world.disturb(Disturbance::Write(50));
    wait_for_commit(&mut world, compute);
    world.disturb(Disturbance::CrashCompute);
    world.run_until(world.now_ms + SECOND_MS);
    wait_for_stream(&mut world);
    world.settle();
    let file = world.safekeepers[2].disk.control_file().unwrap();
    assert_eq!(file.local_start_lsn, DATABASE_START);
}

#[test]
fn without_a_quorum_nothing_is_committed_until_one_returns() {
    let mut world = reliable_world();
    world.start_chain();
    let compute = wait_for_stream(&mut world);
    world.disturb(Disturbance::Write(1));
    let committed_lsn = wait_for_commit(&mut world, compute);
    world.disturb(Disturbance::CutOff(0, 4 * SECOND_MS));
    world.disturb(Disturbance::CutOff(1, 8 * SECOND_MS));
    world.disturb(Disturbance::Write(1));
    world.run_until(world.now_ms + 3 * SECOND_MS);
    assert_eq!(world.computes[compute].proposer.status().commit_lsn, committed_lsn);
    world.run_until(world.now_ms + 9 * SECOND_MS);
    assert!(world.computes[compute].proposer.status().commit_lsn > committed_lsn);
}
