use utils::TenantId;

use super::*;

const WAIT: Duration = Duration::from_secs(30);

fn cell() -> StateCell {
    StateCell::new(TenantShardId::unsharded(TenantId::generate()))
}

#[test]
fn a_tenant_passes_through_its_states_in_order() {
    let state = cell();
    assert!(!state.set_active());
    assert!(state.start_activating());
    assert!(state.set_active());
    assert!(state.set_stopping());
    assert!(!state.set_stopping());
    assert!(!state.start_activating());
}

#[test]
fn the_first_reason_for_being_broken_stays() {
    let state = cell();
    state.set_broken("one");
    state.set_broken("two");
    assert_eq!(state.current(), TenantState::broken("one"));
    assert!(!state.set_active());
}

#[tokio::test]
async fn a_waiter_sees_the_activation() {
    let state = std::sync::Arc::new(cell());
    let other = std::sync::Arc::clone(&state);
    let waiter =
        tokio::spawn(async move { other.wait_active(WAIT, &CancellationToken::new()).await });
    state.start_activating();
    state.set_active();
    assert_eq!(waiter.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn waiting_for_a_broken_tenant_fails_with_its_reason() {
    let state = cell();
    state.set_broken("index is corrupt");
    let error = state.wait_active(WAIT, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "tenant is broken: index is corrupt");
}

#[tokio::test]
async fn waiting_for_a_stopping_tenant_fails() {
    let state = cell();
    state.set_stopping();
    let error = state.wait_active(WAIT, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "will not become active.  Current state: Stopping");
}

#[tokio::test]
async fn waiting_ends_after_a_while() {
    let wait = Duration::from_millis(10);
    let error = cell().wait_active(wait, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, WaitToBecomeActiveError::Timeout { .. }));
}
