use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::*;

#[test]
fn names_of_kinds_are_unique() {
    let names: std::collections::HashSet<_> = TaskKind::ALL.iter().map(|k| k.name()).collect();
    assert_eq!(names.len(), TaskKind::ALL.len());
    assert!(names.contains("PageRequestHandler"));
}

#[tokio::test]
async fn shutdown_cancels_tasks_and_waits_for_them() {
    let scope = TaskScope::new("test", CancellationToken::new());
    let ended = Arc::new(AtomicBool::new(false));
    let (flag, cancel) = (Arc::clone(&ended), scope.cancellation_token().clone());
    scope.spawn(TaskKind::UnitTest, ExitOnError::No, async move {
        cancel.cancelled().await;
        tokio::task::yield_now().await;
        flag.store(true, Ordering::SeqCst);
        Ok::<(), std::convert::Infallible>(())
    });
    scope.shutdown().await;
    assert!(ended.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_panicking_task_does_not_hang_the_scope() {
    let scope = TaskScope::new("test", CancellationToken::new());
    scope.spawn(TaskKind::UnitTest, ExitOnError::No, async {
        if std::hint::black_box(true) {
            panic!("on purpose");
        }
        Ok::<(), std::convert::Infallible>(())
    });
    scope.wait().await;
}
