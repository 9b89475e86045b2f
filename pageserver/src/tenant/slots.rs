//! The map of tenant shards on this node, and the rule that one operation at a time owns a slot.
//!
//! An operation that changes a shard takes its slot; until it puts something back, others fail at
//! once instead of queueing. "Not found" is answered only when the shard is certainly not here: a
//! control plane may attach it elsewhere upon that answer. Holds no tenant logic.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use metrics::{IntCounter, IntGaugeVec, register_int_counter, register_int_gauge_vec};
use pageserver_api::shard::TenantShardId;
use tokio_util::sync::CancellationToken;

static SLOTS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "pageserver_tenant_manager_slots",
        "Tenant shards on this node by role",
        &["mode"]
    )
    .expect("a metric is registered once")
});

static SLOT_WRITES: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "pageserver_tenant_manager_slot_writes",
        "Changes of what is in a tenant slot"
    )
    .expect("a metric is registered once")
});
static UNEXPECTED_ERRORS: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "pageserver_tenant_manager_unexpected_errors_total",
        "Conditions in the tenant map that only a bug can bring about"
    )
    .expect("a metric is registered once")
});

/// What a slot's occupant does for the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It serves it.
    Attached,
    /// It keeps a cache.
    Secondary,
}

/// What can be in a slot.
pub trait Occupant: Clone {
    /// Whether it has stopped completely, so that another may take its place.
    fn is_shut_down(&self) -> bool;

    /// What it does; constant over its life.
    fn role(&self) -> Role;
}

/// Why a slot cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SlotError {
    /// The shard is not on this node.
    #[error("NotFound: tenant {}", .0.tenant_id)]
    NotFound(TenantShardId),
    /// Another operation owns it; the token fires when that is over.
    #[error("Tenant is being modified concurrently")]
    InProgress(CancellationToken),
    /// The map has not been filled yet.
    #[error("tenant map is still initializing")]
    Initializing,
    /// The process is shutting down.
    #[error("tenant map is shutting down")]
    ShuttingDown,
}

/// Whether an operation makes sense for a shard that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireMode {
    /// It does.
    Any,
    /// It does not.
    MustExist,
}

/// One shard.
#[derive(Clone, Debug)]
pub enum Slot<T> {
    /// It is here, in some role.
    Occupied(T),
    /// An operation owns it; the token fires when that is over.
    InProgress(CancellationToken),
}

#[derive(Debug)]
enum Phase {
    Initializing,
    Open,
    ShuttingDown,
}

#[derive(Debug)]
struct Inner<T> {
    phase: Phase,
    slots: BTreeMap<TenantShardId, Slot<T>>,
}

/// The map. Clones share it.
#[derive(Clone, Debug)]
pub struct SlotMap<T> {
    inner: Arc<RwLock<Inner<T>>>,
}

impl<T: Occupant> Slot<T> {
    fn mode(&self) -> &'static str {
        match self {
            Slot::InProgress(_) => "inprogress",
            Slot::Occupied(occupant) => match occupant.role() {
                Role::Attached => "attached",
                Role::Secondary => "secondary",
            },
        }
    }
}

impl<T: Occupant> Inner<T> {
    /// Changes one slot, and keeps the gauges in step.
    fn set(&mut self, id: TenantShardId, slot: Option<Slot<T>>) {
        SLOT_WRITES.inc();
        let added = slot.as_ref().map(Slot::mode);
        let removed = match slot {
            Some(slot) => self.slots.insert(id, slot),
            None => self.slots.remove(&id),
        };
        if let Some(removed) = removed {
            SLOTS.with_label_values(&[removed.mode()]).dec();
        }
        if let Some(mode) = added {
            SLOTS.with_label_values(&[mode]).inc();
        }
    }
}

impl<T: Occupant> Default for SlotMap<T> {
    fn default() -> Self {
        for mode in ["attached", "secondary", "inprogress"] {
            SLOTS.with_label_values(&[mode]);
        }
        LazyLock::force(&SLOT_WRITES);
        LazyLock::force(&UNEXPECTED_ERRORS);
        let inner = Inner { phase: Phase::Initializing, slots: BTreeMap::new() };
        SlotMap { inner: Arc::new(RwLock::new(inner)) }
    }
}

impl<T: Occupant> SlotMap<T> {
    /// Fills the map. From now on slots can be taken.
    pub fn open(&self, tenants: BTreeMap<TenantShardId, T>) {
        self.write(|inner| {
            for (id, occupant) in tenants {
                inner.set(id, Some(Slot::Occupied(occupant)));
            }
            inner.phase = Phase::Open;
        });
    }

    /// Refuses operations from now on. What is in the map stays, so that nobody is told that a shard
    /// is not here. Returns a snapshot.
    pub fn close(&self) -> BTreeMap<TenantShardId, Slot<T>> {
        self.write(|inner| {
            inner.phase = Phase::ShuttingDown;
            inner.slots.clone()
        })
    }

    /// What a slot holds.
    pub fn get(&self, id: &TenantShardId) -> Result<T, SlotError> {
        self.read(|inner| match (inner.slots.get(id), &inner.phase) {
            (_, Phase::Initializing) => Err(SlotError::Initializing),
            (Some(Slot::Occupied(found)), Phase::Open | Phase::ShuttingDown) => Ok(found.clone()),
            (Some(Slot::InProgress(done)), Phase::Open | Phase::ShuttingDown) => {
                Err(SlotError::InProgress(done.clone()))
            }
            (None, Phase::ShuttingDown) => Err(SlotError::ShuttingDown),
            (None, Phase::Open) => Err(SlotError::NotFound(*id)),
        })
    }

    /// The slots of one tenant in the order of their ids, or of all tenants.
    pub fn list(
        &self,
        tenant: Option<utils::TenantId>,
    ) -> Result<Vec<(TenantShardId, Slot<T>)>, SlotError> {
        self.read(|inner| match inner.phase {
            Phase::Initializing => Err(SlotError::Initializing),
            Phase::Open | Phase::ShuttingDown => {
                // Ids sort by tenant, the unsharded one first.
                let first = tenant.map(TenantShardId::unsharded);
                let from = first.map_or(Bound::Unbounded, Bound::Included);
                let found = inner.slots.range((from, Bound::Unbounded));
                Ok(found
                    .take_while(|(id, _)| tenant.is_none_or(|tenant| id.tenant_id == tenant))
                    .map(|(id, slot)| (*id, slot.clone()))
                    .collect())
            }
        })
    }

    /// Whether the process is shutting down.
    pub fn is_closed(&self) -> bool {
        self.read(|inner| match inner.phase {
            Phase::ShuttingDown => true,
            Phase::Initializing | Phase::Open => false,
        })
    }

    /// Takes a slot for an operation.
    pub fn acquire(&self, id: TenantShardId, mode: AcquireMode) -> Result<SlotGuard<T>, SlotError> {
        self.write(|inner| {
            match inner.phase {
                Phase::Initializing => return Err(SlotError::Initializing),
                Phase::ShuttingDown => return Err(SlotError::ShuttingDown),
                Phase::Open => {}
            }
            let old = match inner.slots.get(&id) {
                Some(Slot::InProgress(done)) => return Err(SlotError::InProgress(done.clone())),
                Some(Slot::Occupied(occupant)) => Some(occupant.clone()),
                None if mode == AcquireMode::MustExist => return Err(SlotError::NotFound(id)),
                None => None,
            };
            let done = CancellationToken::new();
            inner.set(id, Some(Slot::InProgress(done.clone())));
            Ok(SlotGuard { map: self.clone(), id, old, done, settled: false })
        })
    }

    fn read<R>(&self, look: impl FnOnce(&Inner<T>) -> R) -> R {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, change: impl FnOnce(&mut Inner<T>) -> R) -> R {
        change(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ownership of a slot. Dropping it without saying what should be there puts the old occupant
/// back, unless that has been shut down.
#[derive(Debug)]
pub struct SlotGuard<T: Occupant> {
    map: SlotMap<T>,
    id: TenantShardId,
    old: Option<T>,
    done: CancellationToken,
    settled: bool,
}

impl<T: Occupant> SlotGuard<T> {
    /// What was in the slot.
    pub fn old(&self) -> Option<&T> {
        self.old.as_ref()
    }

    /// Puts a new occupant into the slot. When the process began to shut down meanwhile it goes in
    /// too, so that it is never reported as absent, and the caller must shut it down.
    ///
    /// # Panics
    /// When the old occupant is still running: two would write to the same directory.
    pub fn upsert(mut self, new: T) -> Result<(), SlotError> {
        let stopped = self.old.as_ref().is_none_or(Occupant::is_shut_down);
        if !stopped {
            UNEXPECTED_ERRORS.inc();
        }
        assert!(stopped, "the old tenant {} must be shut down before it is replaced", self.id);
        self.settle(Some(new));
        if self.map.is_closed() { Err(SlotError::ShuttingDown) } else { Ok(()) }
    }

    /// Puts the old occupant back.
    pub fn revert(mut self) {
        let old = self.old.take();
        self.settle(old);
    }

    /// Empties the slot.
    pub fn remove(mut self) {
        self.settle(None);
    }

    fn settle(&mut self, occupant: Option<T>) {
        self.settled = true;
        self.map.write(|inner| inner.set(self.id, occupant.map(Slot::Occupied)));
        self.done.cancel();
    }
}

impl<T: Occupant> Drop for SlotGuard<T> {
    fn drop(&mut self) {
        if !self.settled {
            let old = self.old.take().filter(|old| !old.is_shut_down());
            self.settle(old);
        }
    }
}

#[cfg(test)]
mod tests;
