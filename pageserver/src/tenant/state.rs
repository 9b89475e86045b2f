//! The state of an attached tenant, and waiting for it.
//!
//! Attaching → Activating → Active → Stopping; anything may become Broken.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{IntGaugeVec, register_int_gauge_vec};
use pageserver_api::models::TenantState;
use pageserver_api::models::tenant::ActivatingFrom;
use pageserver_api::shard::TenantShardId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

static STATES: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let gauge = register_int_gauge_vec!(
        "pageserver_tenant_states_count",
        "Attached tenants by state",
        &["state"]
    )
    .expect("a metric is registered once");
    for slug in TenantState::SLUGS {
        gauge.with_label_values(&[slug]).set(0);
    }
    gauge
});
static BROKEN: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "pageserver_broken_tenants_count",
        "1 for each tenant that is broken",
        &["tenant_id", "shard_id"]
    )
    .expect("a metric is registered once")
});

/// A tenant is not active.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WaitToBecomeActiveError {
    /// It is broken.
    #[error("tenant is broken: {0}")]
    Broken(String),
    /// It is shutting down.
    #[error("will not become active.  Current state: {0}")]
    WillNotBecomeActive(String),
    /// It takes too long.
    #[error("Timed out waiting {wait:?} for tenant active state. Latest state: {latest}")]
    Timeout {
        /// How long was waited.
        wait: Duration,
        /// The state at the end.
        latest: String,
    },
}

/// Holds the state; counts it in the gauges while it lives.
#[derive(Debug)]
pub struct StateCell {
    sender: watch::Sender<TenantState>,
    shard: TenantShardId,
}

impl StateCell {
    /// Starts with Attaching.
    pub fn new(shard: TenantShardId) -> Self {
        let state = TenantState::Attaching;
        STATES.with_label_values(&[state.slug()]).inc();
        StateCell { sender: watch::Sender::new(state), shard }
    }

    /// The state now.
    pub fn current(&self) -> TenantState {
        self.sender.borrow().clone()
    }

    /// Whether it is Active.
    pub fn is_active(&self) -> bool {
        *self.sender.borrow() == TenantState::Active
    }

    /// Whether it is Broken.
    pub fn is_broken(&self) -> bool {
        matches!(*self.sender.borrow(), TenantState::Broken { .. })
    }

    /// Whether it is Stopping.
    pub fn is_stopping(&self) -> bool {
        matches!(*self.sender.borrow(), TenantState::Stopping {})
    }

    /// Attaching → Activating. False if the tenant is shutting down or broken.
    pub fn start_activating(&self) -> bool {
        self.change(|state| match state {
            TenantState::Attaching => Some(TenantState::Activating(ActivatingFrom::Attaching)),
            TenantState::Loading => Some(TenantState::Activating(ActivatingFrom::Loading)),
            TenantState::Activating(_)
            | TenantState::Active
            | TenantState::Stopping {}
            | TenantState::Broken { .. } => None,
        })
    }

    /// Activating → Active. False if the tenant is shutting down or broken.
    pub fn set_active(&self) -> bool {
        self.change(|state| match state {
            TenantState::Activating(_) => Some(TenantState::Active),
            TenantState::Loading
            | TenantState::Attaching
            | TenantState::Active
            | TenantState::Stopping {}
            | TenantState::Broken { .. } => None,
        })
    }

    /// Anything but Stopping → Stopping. False if it is already.
    pub fn set_stopping(&self) -> bool {
        self.change(|state| match state {
            TenantState::Stopping {} => None,
            TenantState::Loading
            | TenantState::Attaching
            | TenantState::Activating(_)
            | TenantState::Active
            | TenantState::Broken { .. } => Some(TenantState::Stopping {}),
        })
    }

    /// Anything → Broken. The first reason stays.
    pub fn set_broken(&self, reason: &str) {
        let changed = self.change(|state| match state {
            TenantState::Broken { .. } => None,
            TenantState::Loading
            | TenantState::Attaching
            | TenantState::Activating(_)
            | TenantState::Active
            | TenantState::Stopping {} => Some(TenantState::broken(reason)),
        });
        if changed {
            let shard = &self.shard;
            BROKEN.with_label_values(&[&shard.to_string(), &shard.shard_slug()]).set(1);
        } else {
            tracing::warn!("Tenant is already in Broken state");
        }
    }

    fn change(&self, next: impl FnOnce(&TenantState) -> Option<TenantState>) -> bool {
        self.sender.send_if_modified(|state| match next(state) {
            Some(new) => {
                STATES.with_label_values(&[state.slug()]).dec();
                STATES.with_label_values(&[new.slug()]).inc();
                *state = new;
                true
            }
            None => false,
        })
    }

    /// Waits until the tenant is active, or until it is certain that it will not be.
    pub async fn wait_active(
        &self,
        wait: Duration,
        cancel: &CancellationToken,
    ) -> Result<(), WaitToBecomeActiveError> {
        let mut receiver = self.sender.subscribe();
        let settled = receiver.wait_for(|state| match state {
            TenantState::Active | TenantState::Stopping {} | TenantState::Broken { .. } => true,
            TenantState::Loading | TenantState::Attaching | TenantState::Activating(_) => false,
        });
        // Both branches are cancel-safe: they only look.
        let settled = tokio::select! {
            settled = tokio::time::timeout(wait, settled) => settled,
            () = cancel.cancelled() => {
                let state = self.current().to_string();
                return Err(WaitToBecomeActiveError::WillNotBecomeActive(state));
            }
        };
        let state = match settled {
            // The sender lives as long as `self`.
            Ok(state) => state.map_or_else(|_| self.current(), |state| state.clone()),
            Err(_) => {
                let latest = self.current().to_string();
                return Err(WaitToBecomeActiveError::Timeout { wait, latest });
            }
        };
        match state {
            TenantState::Active => Ok(()),
            TenantState::Broken { reason, .. } => Err(WaitToBecomeActiveError::Broken(reason)),
            TenantState::Loading
            | TenantState::Attaching
            | TenantState::Activating(_)
            | TenantState::Stopping {} => {
                Err(WaitToBecomeActiveError::WillNotBecomeActive(state.to_string()))
            }
        }
    }
}

impl Drop for StateCell {
    fn drop(&mut self) {
        STATES.with_label_values(&[self.sender.borrow().slug()]).dec();
    }
}

#[cfg(test)]
mod tests;
