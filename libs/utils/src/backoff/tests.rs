use std::cell::Cell;

use super::*;

#[test]
fn the_wait_doubles_up_to_the_limit() {
    let waits: Vec<_> =
        (0..5).map(|n| exponential_backoff_duration(n, 1.0, 3.0).as_secs()).collect();
    assert_eq!(waits, [0, 1, 2, 3, 3]);
    assert_eq!(exponential_backoff_duration(u32::MAX, 0.1, 10.0).as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_retried() {
    let calls = Cell::new(0);
    let operation = async || {
        calls.set(calls.get() + 1);
        if calls.get() < 3 { Err("not yet") } else { Ok(calls.get()) }
    };
    let cancel = CancellationToken::new();
    let result = retry(operation, |_| false, 1, 5, "the operation", &cancel).await;
    assert_eq!(result, Some(Ok(3)));
}

#[tokio::test(start_paused = true)]
async fn retries_end_at_the_limit() {
    let calls = Cell::new(0);
    let operation = async || {
        calls.set(calls.get() + 1);
        Err::<(), _>("never")
    };
    let cancel = CancellationToken::new();
    let result = retry(operation, |_| false, 1, 2, "the operation", &cancel).await;
    assert_eq!(result, Some(Err("never")));
    assert_eq!(calls.get(), 3);
}

#[tokio::test]
async fn a_permanent_failure_is_not_retried() {
    let cancel = CancellationToken::new();
    let operation = async || Err::<(), _>("broken");
    let result = retry(operation, |_| true, 1, 10, "the operation", &cancel).await;
    assert_eq!(result, Some(Err("broken")));
}

#[tokio::test]
async fn cancellation_ends_the_retries() {
    let cancel = CancellationToken::new();
    let operation = async || {
        cancel.cancel();
        Err::<(), _>("no")
    };
    assert_eq!(retry(operation, |_| false, 1, 10, "the operation", &cancel).await, None);
}
