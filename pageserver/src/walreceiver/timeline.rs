//! What the receiver needs of a timeline.

use pageserver_api::shard::ShardIdentity;
use postgres_ffi::PgMajor;
use tokio::sync::watch;
use utils::{Lsn, TenantTimelineId};

use crate::keymap::KeyStore;
use crate::keymap::logical_size::CurrentLogicalSize;

/// How far a timeline's contents are safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersistedPositions {
    /// On the local disk.
    pub disk_consistent_lsn: Lsn,
    /// In remote storage, named by a validated index.
    pub remote_consistent_lsn: Lsn,
}

/// A timeline that WAL is received for.
pub trait ReceiverTimeline: KeyStore + Clone + Send + Sync + 'static {
    /// Its ids.
    fn ttid(&self) -> TenantTimelineId;
    /// Which keys it keeps.
    fn shard_identity(&self) -> ShardIdentity;
    /// The version of PostgreSQL that writes its WAL.
    fn pg_major(&self) -> PgMajor;
    /// How far its contents are safe.
    fn persisted_positions(&self) -> PersistedPositions;
    /// Sum of its relations' sizes.
    fn logical_size(&self) -> CurrentLogicalSize;
    /// Whether somebody waits for WAL to arrive.
    fn lsn_waiters(&self) -> watch::Receiver<bool>;
    /// A standby needs everything from here on.
    fn set_standby_horizon(&self, lsn: Lsn);
}
