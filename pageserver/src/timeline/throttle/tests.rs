use std::num::NonZeroU32;

use futures::future::join_all;
use utils::Generation;

use super::*;
use crate::config::{AttachMode, AttachedTenantConf};

const TASK: TaskKind = TaskKind::PageRequestHandler;

fn handle() -> TenantConfHandle {
    TenantConfHandle::for_tests(Generation::Valid(1))
}

fn set(handle: &TenantConfHandle, throttle: Throttle) {
    let old = handle.load();
    let mut effective = old.effective.clone();
    effective.timeline_get_throttle = throttle;
    handle.store(AttachedTenantConf {
        generation: old.generation,
        attach_mode: AttachMode::Single,
        overrides: old.overrides.clone(),
        effective,
    });
}

/// `per_second` keys of page requests, `initial` of them at once.
fn limited(per_second: u32, initial: u32) -> Throttle {
    Throttle {
        task_kinds: vec!["PageRequestHandler".to_owned(), "NoSuchKind".to_owned()],
        initial,
        refill_interval: Duration::from_millis(100),
        refill_amount: NonZeroU32::new(per_second / 10).unwrap(),
        max: initial,
        fair: true,
    }
}

/// How long `reads` of `keys` each take, all begun at once.
async fn time_of(throttle: &ReadThrottle, task: TaskKind, reads: u64, keys: u64) -> Duration {
    let started = Instant::now();
    let cancel = CancellationToken::new();
    join_all((0..reads).map(|_| throttle.admit(task, keys, &cancel))).await;
    started.elapsed()
}

fn close(measured: Duration, expected_millis: u64) {
    let millis = measured.as_secs_f64() * 1000.0;
    let expected = expected_millis as f64;
    assert!((millis - expected).abs() <= expected * 0.01 + 2.0, "{millis} ms, not {expected}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_back_unless_asked_for() {
    let throttle = ReadThrottle::new(handle());
    assert_eq!(time_of(&throttle, TASK, 10_000, 32).await, Duration::ZERO);
    let handle = handle();
    set(&handle, limited(100, 0));
    let throttle = ReadThrottle::new(handle);
    assert_eq!(time_of(&throttle, TaskKind::Compaction, 10_000, 32).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn each_key_counts_and_the_rate_is_kept() {
    let handle = handle();
    set(&handle, limited(1000, 0));
    let throttle = ReadThrottle::new(handle);
    close(time_of(&throttle, TASK, 3000, 1).await, 3000);
    close(time_of(&throttle, TASK, 100, 32).await, 3200);
}

#[tokio::test(start_paused = true)]
async fn idle_time_saves_up_to_the_limit() {
    let handle = handle();
    set(&handle, limited(100, 50));
    let throttle = ReadThrottle::new(handle);
    close(time_of(&throttle, TASK, 150, 1).await, 1000);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(time_of(&throttle, TASK, 50, 1).await, Duration::ZERO);
    close(time_of(&throttle, TASK, 50, 1).await, 500);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_options_counts_at_once() {
    let handle = handle();
    set(&handle, limited(10, 0));
    let throttle = ReadThrottle::new(handle.clone());
    close(time_of(&throttle, TASK, 10, 1).await, 1000);
    set(&handle, limited(1000, 0));
    close(time_of(&throttle, TASK, 1000, 1).await, 1000);
    set(&handle, Throttle::disabled());
    assert_eq!(time_of(&throttle, TASK, 1000, 1).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_timeline_that_goes_away() {
    let handle = handle();
    set(&handle, limited(10, 0));
    let throttle = ReadThrottle::new(handle);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let started = Instant::now();
    throttle.admit(TASK, 1_000_000, &cancel).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_time_held_back_is_known_to_who_measures() {
    let handle = handle();
    set(&handle, limited(10, 0));
    let throttle = ReadThrottle::new(handle);
    let cancel = CancellationToken::new();
    let (elapsed, held_back) = context::with_throttled_time(async {
        let started = Instant::now();
        throttle.admit(TASK, 10, &cancel).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        started.elapsed()
    })
    .await;
    close(elapsed - held_back, 50);
    close(held_back, 1000);
}
