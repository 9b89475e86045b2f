use super::*;

#[tokio::test]
async fn a_second_task_waits_for_the_permit_of_the_first() {
    let limit = BackgroundLimit::new(1);
    let first = limit.acquire(LoopKind::Gc).await;
    let waiting = limit.clone();
    let second = tokio::spawn(async move { waiting.acquire(LoopKind::Gc).await });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(first);
    drop(second.await.unwrap());
    limit.acquire(LoopKind::Gc).await;
}

#[tokio::test]
async fn a_wait_that_is_given_up_leaves_no_trace() {
    let limit = BackgroundLimit::new(1);
    let _held = limit.acquire(LoopKind::HeatmapUpload).await;
    let wait = limit.acquire(LoopKind::HeatmapUpload);
    assert!(tokio::time::timeout(Duration::from_millis(10), wait).await.is_err());
    let waiting = WAITING.with_label_values(&[LoopKind::HeatmapUpload.label()]);
    assert_eq!(waiting.get(), 0);
    assert_eq!(limit.permits.available_permits(), 0);
}

#[test]
fn a_small_machine_still_gets_one_permit() {
    for (threads, permits) in [(1, 1), (2, 1), (8, 6)] {
        let limit = BackgroundLimit::for_worker_threads(threads);
        assert_eq!(limit.permits.available_permits(), permits, "{threads}");
    }
}
