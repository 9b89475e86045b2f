use std::sync::Arc;

use super::*;

#[tokio::test]
async fn a_reached_position_needs_no_wait() {
    let seqwait = SeqWait::new(Lsn(10));
    seqwait.wait_for(Lsn(10)).await.unwrap();
    assert!(!*seqwait.has_waiters().borrow());
}

#[tokio::test]
async fn advancing_wakes_only_those_it_satisfies() {
    let seqwait = Arc::new(SeqWait::new(Lsn(0)));
    let near = tokio::spawn({
        let seqwait = seqwait.clone();
        async move { seqwait.wait_for(Lsn(10)).await }
    });
    let far = tokio::spawn({
        let seqwait = seqwait.clone();
        async move { seqwait.wait_for(Lsn(11)).await }
    });
    seqwait.has_waiters().wait_for(|waiting| *waiting).await.unwrap();
    while seqwait.lock().waiters.len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(seqwait.advance(Lsn(10)), Lsn(0));
    near.await.unwrap().unwrap();
    assert!(*seqwait.has_waiters().borrow());
    assert!(!far.is_finished());
    seqwait.advance(Lsn(100));
    far.await.unwrap().unwrap();
    assert!(!*seqwait.has_waiters().borrow());
}

#[tokio::test]
async fn a_lower_value_does_not_move_the_position_back() {
    let seqwait = SeqWait::new(Lsn(10));
    assert_eq!(seqwait.advance(Lsn(5)), Lsn(10));
    assert_eq!(seqwait.load(), Lsn(10));
}

#[tokio::test]
async fn a_wait_times_out_and_leaves_nothing_behind() {
    let seqwait = SeqWait::new(Lsn(0));
    let result = seqwait.wait_for_timeout(Lsn(1), Duration::from_millis(5)).await;
    assert_eq!(result, Err(SeqWaitError::Timeout));
    assert!(seqwait.lock().waiters.is_empty());
    assert!(!*seqwait.has_waiters().borrow());
}

#[tokio::test]
async fn shutdown_ends_present_and_future_waits() {
    let seqwait = Arc::new(SeqWait::new(Lsn(5)));
    let waiting = tokio::spawn({
        let seqwait = seqwait.clone();
        async move { seqwait.wait_for(Lsn(10)).await }
    });
    seqwait.has_waiters().wait_for(|waiting| *waiting).await.unwrap();
    seqwait.shutdown();
    assert_eq!(waiting.await.unwrap(), Err(SeqWaitError::Shutdown));
    assert_eq!(seqwait.wait_for(Lsn(10)).await, Err(SeqWaitError::Shutdown));
    assert_eq!(seqwait.wait_for(Lsn(5)).await, Ok(()));
}

#[tokio::test]
async fn the_greatest_position_wakes_everybody() {
    let seqwait = Arc::new(SeqWait::new(Lsn(5)));
    let waiting = tokio::spawn({
        let seqwait = seqwait.clone();
        async move { seqwait.wait_for(Lsn::MAX).await }
    });
    seqwait.has_waiters().wait_for(|waiting| *waiting).await.unwrap();
    seqwait.advance(Lsn::MAX);
    waiting.await.unwrap().unwrap();
}
