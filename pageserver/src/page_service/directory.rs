//! What the page service needs from the engine: finding timelines, and asking them.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pageserver_api::shard::ShardIndex;
use pageserver_api::{Key, ShardIdentity};
use postgres_ffi::PgMajor;
use tokio_util::sync::CancellationToken;
use utils::{Lsn, TenantId, TimelineId};

use crate::ingest::import::tarball::TarChunks;
use crate::keymap::KeyReader;

/// Which shard of a tenant is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardSelector {
    /// The one that holds everything but relation blocks.
    Zero,
    /// Any that is attached here.
    First,
    /// The one that owns a key.
    Page(Key),
    /// A known one.
    Known(ShardIndex),
}

/// Why a timeline cannot be served.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LookupError {
    /// It does not exist here, or is not active.
    #[error("{0}")]
    NotFound(String),
    /// It did not become active in time.
    #[error("{0}")]
    Timeout(String),
    /// It is shutting down.
    #[error("the tenant is shutting down")]
    ShuttingDown,
    /// It is there, but broken.
    #[error("{0}")]
    Broken(String),
}

/// Why a timeline did not reach an LSN.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum WaitError {
    /// The WAL did not arrive in time. The text says what is known about its sender.
    #[error("{0}")]
    Timeout(String),
    /// The timeline is in a state in which nothing arrives.
    #[error("{0}")]
    BadState(String),
    /// The timeline is shutting down.
    #[error("the timeline is shutting down")]
    ShuttingDown,
}

/// Why an LSN was not leased.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LeaseError {
    /// What is needed to read there may be gone.
    #[error(
        "tried to request a page version that was garbage collected. requested at {lsn} gc cutoff {cutoff}"
    )]
    GarbageCollected {
        /// The LSN.
        lsn: Lsn,
        /// From where on versions are kept.
        cutoff: Lsn,
    },
}

/// The position of the newest record, read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// Its end.
    pub last: Lsn,
    /// The end of the one before; 0 if unknown.
    pub prev: Lsn,
}

/// A timeline that is active on this node.
pub trait ServedTimeline: KeyReader + Send + Sync + 'static {
    /// Keeps the timeline from being torn down.
    type Guard: Send;

    /// Version of the servers that write it.
    fn major(&self) -> PgMajor;
    /// Which part of its tenant's data it holds.
    fn shard_identity(&self) -> ShardIdentity;
    /// The newest record.
    fn last_record(&self) -> LastRecord;
    /// Whether it branched off an ancestor at `lsn`, which it may have been detached from since.
    fn is_branch_point(&self, lsn: Lsn) -> bool;
    /// From where on versions are kept.
    fn gc_cutoff_lsn(&self) -> Lsn;
    /// Waits until the record that ends at `lsn` has been ingested.
    fn wait_lsn(&self, lsn: Lsn) -> impl Future<Output = Result<(), WaitError>> + Send;
    /// Keeps versions from `lsn` on until the time returned.
    fn lease_lsn(&self, lsn: Lsn) -> Result<SystemTime, LeaseError>;
    /// Fires when the timeline is to be left alone.
    fn cancellation(&self) -> CancellationToken;
    /// Delays teardown while the guard lives; `None` if teardown has begun.
    fn enter(&self) -> Option<Self::Guard>;
    /// Whether base backups leave SLRU segments to be fetched on demand.
    fn uses_lazy_slru_download(&self) -> bool;
}

/// The effective settings that `show` reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantSettings {
    /// Bytes of WAL after which an open layer is closed.
    pub checkpoint_distance: u64,
    /// Time after which an open layer is closed.
    pub checkpoint_timeout: Duration,
    /// Wanted size of delta layers in bytes.
    pub compaction_target_size: u64,
    /// Time between compactions.
    pub compaction_period: Duration,
    /// Layers that start a compaction.
    pub compaction_threshold: u64,
    /// Bytes of WAL for which versions are kept.
    pub gc_horizon: u64,
    /// Time between garbage collections.
    pub gc_period: Duration,
    /// Delta layers over a range that make an image worthwhile.
    pub image_creation_threshold: u64,
    /// Time for which versions are kept.
    pub pitr_interval: Duration,
}

/// Why a backup could not be imported.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImportFailure {
    /// The tenant or timeline cannot be had.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The backup is not what it should be, or cannot be stored.
    #[error("{0}")]
    Import(String),
}

/// Everything attached to this node.
pub trait TimelineDirectory: Send + Sync + 'static {
    /// What it finds.
    type Timeline: ServedTimeline;

    /// Finds a timeline, waiting a while for its tenant to become active.
    fn timeline(
        &self,
        tenant: TenantId,
        shard: ShardSelector,
        timeline: TimelineId,
    ) -> impl Future<Output = Result<Arc<Self::Timeline>, LookupError>> + Send;

    /// The effective settings of a tenant whose shard zero is attached here.
    fn settings(
        &self,
        tenant: TenantId,
    ) -> impl Future<Output = Result<TenantSettings, LookupError>> + Send;

    /// Creates a timeline from the archive of a data directory.
    fn import_basebackup(
        &self,
        id: (TenantId, TimelineId),
        base_lsn: Lsn,
        major: PgMajor,
        tar: TarChunks,
    ) -> impl Future<Output = Result<(), ImportFailure>> + Send;

    /// Adds archived WAL to a timeline that ends where it starts.
    fn import_wal(
        &self,
        id: (TenantId, TimelineId),
        range: (Lsn, Lsn),
        tar: TarChunks,
    ) -> impl Future<Output = Result<(), ImportFailure>> + Send;
}
