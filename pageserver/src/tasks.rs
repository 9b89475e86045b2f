//! Kinds of tasks, the runtimes they run on, and a scope that spawns and awaits them.
//!
//! Every task of the pageserver is spawned through a [`TaskScope`], so that whoever owns the scope
//! can cancel its tasks and wait for their end. Names of kinds appear in metrics, tenant
//! configuration and access statistics.

mod background;
mod runtimes;
mod scope;

pub use background::{
    BackgroundLimit, BackgroundPermit, LoopKind, TenantLoop, preinitialize_metrics,
    warn_when_period_overrun,
};
pub use runtimes::{RuntimeConfigError, Runtimes};
pub use scope::{ExitOnError, TaskScope};

use std::fmt;

/// Declares the kinds with their names and runtimes in one table.
macro_rules! task_kinds {
    ($( $(#[doc = $doc:literal])+ $kind:ident on $runtime:ident; )+) => {
        /// What a task is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TaskKind {
            $( $(#[doc = $doc])+ $kind, )+
        }

        impl TaskKind {
            /// Every kind.
            pub const ALL: &'static [TaskKind] = &[ $( TaskKind::$kind, )+ ];

            /// The name in labels and configuration.
            pub const fn name(self) -> &'static str {
                match self { $( TaskKind::$kind => stringify!($kind), )+ }
            }

            /// Where tasks of this kind run.
            pub const fn runtime(self) -> RuntimeKind {
                match self { $( TaskKind::$kind => RuntimeKind::$runtime, )+ }
            }
        }
    };
}

/// The runtimes. They are separate so that a storm of background work starves neither page reads
/// nor the management API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// Page requests of computes.
    ComputeRequest,
    /// The management API.
    MgmtRequest,
    /// WAL ingest.
    WalReceiver,
    /// Everything else.
    Background,
}

impl RuntimeKind {
    /// How many there are.
    pub const COUNT: usize = 4;
}

task_kinds! {
    /// The main thread while starting.
    Startup on Background;
    /// Accepts page service connections.
    LibpqEndpointListener on ComputeRequest;
    /// Accepts HTTP connections.
    HttpEndpointListener on MgmtRequest;
    /// One page service connection.
    PageRequestHandler on ComputeRequest;
    /// Chooses safekeepers for a timeline.
    WalReceiverManager on WalReceiver;
    /// Ingests WAL from one safekeeper.
    WalReceiverConnectionHandler on WalReceiver;
    /// Drives the socket of one safekeeper.
    WalReceiverConnectionPoller on WalReceiver;
    /// Garbage collection loop.
    GarbageCollector on Background;
    /// Compaction loop.
    Compaction on Background;
    /// Eviction of layers by age.
    Eviction on Background;
    /// Closes open layers that are idle or large.
    IngestHousekeeping on Background;
    /// Eviction of layers under disk pressure.
    DiskUsageEviction on Background;
    /// Downloads of secondary locations.
    SecondaryDownloads on Background;
    /// Uploads of heatmaps.
    SecondaryUploads on Background;
    /// First computation of a timeline's logical size.
    InitialLogicalSizeCalculation on Background;
    /// Computation of a logical size on request.
    OndemandLogicalSizeCalculation on Background;
    /// Writes frozen layers out.
    LayerFlushTask on Background;
    /// One operation of an upload queue.
    RemoteUploadTask on Background;
    /// Loads tenants at start.
    InitialLoad on Background;
    /// Attaches one tenant.
    Attach on Background;
    /// Deletes one timeline.
    TimelineDeletionWorker on Background;
    /// Consumption metrics.
    MetricsCollection on Background;
    /// Downloads all layers of a timeline.
    DownloadAllRemoteLayers on Background;
    /// Synthetic size of tenants.
    CalculateSyntheticSize on Background;
    /// A management API request.
    MgmtRequest on MgmtRequest;
    /// A tool.
    DebugTool on Background;
    /// Warms the page cache for an in-memory layer.
    EphemeralFilePreWarmPageCache on Background;
    /// Downloads one layer.
    LayerDownload on Background;
    /// A test.
    UnitTest on Background;
    /// Logs what a WAL redo process says.
    WalRedoStderrLogger on Background;
    /// Makes a timeline independent of its ancestor.
    DetachAncestor on Background;
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
