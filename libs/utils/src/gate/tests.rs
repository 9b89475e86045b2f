use super::*;

#[tokio::test]
async fn an_empty_gate_closes_at_once() {
    let gate = Gate::new();
    gate.close().await;
    assert!(gate.close_complete());
    assert_eq!(gate.enter().unwrap_err(), GateClosed);
}

#[tokio::test]
async fn closing_waits_for_the_last_guard() {
    let gate = Gate::new();
    let first = gate.enter().unwrap();
    let second = gate.enter().unwrap();
    let closing = tokio::spawn({
        let gate = gate.clone();
        async move { gate.close().await }
    });
    while gate.enter().is_ok() {
        tokio::task::yield_now().await;
    }
    drop(first);
    tokio::task::yield_now().await;
    assert!(!gate.close_complete());
    assert!(!closing.is_finished());
    drop(second);
    closing.await.unwrap();
    assert!(gate.close_complete());
}

#[tokio::test]
async fn closing_twice_is_harmless() {
    let gate = Gate::new();
    drop(gate.enter().unwrap());
    gate.close().await;
    gate.close().await;
    assert!(gate.close_complete());
}
