//! How long reads and waits take, all timelines together, and how long the background work of each
//! timeline does.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use metrics::{Histogram, HistogramVec, must, register_histogram, register_histogram_vec};

use crate::tasks::TaskKind;

/// Of what may take microseconds or minutes.
const CRITICAL_SECONDS: [f64; 9] = [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0];
/// Of background work.
const OPERATION_SECONDS: [f64; 6] = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0];
const LAYERS: [f64; 10] = [1.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

fn critical(name: &str, help: &str, label: &str) -> HistogramVec {
    must(register_histogram_vec!(name, help, &[label], CRITICAL_SECONDS.to_vec()))
}

/// Whether one key is read or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GetKind {
    Singular,
    Vectored,
}

/// What is measured of reads, its series looked up once.
pub(super) struct ReadMetrics {
    gather: [Histogram; 2],
    reconstruct: [Histogram; 2],
    layers_visited: [Histogram; 2],
    get_vectored: [(TaskKind, Histogram); 2],
    scan: (TaskKind, Histogram),
    wait_lsn: Histogram,
}

pub(super) static READS: LazyLock<ReadMetrics> = LazyLock::new(ReadMetrics::new);

impl ReadMetrics {
    fn new() -> Self {
        let by_kind =
            |all: HistogramVec| ["Singular", "Vectored"].map(|kind| all.with_label_values(&[kind]));
        let by_task =
            |all: &HistogramVec, task: TaskKind, label| (task, all.with_label_values(&[label]));
        let vectored = critical(
            "pageserver_get_vectored_seconds",
            "Seconds that reads of several keys take",
            "task_kind",
        );
        let scan = critical(
            "pageserver_scan_seconds",
            "Seconds that reads of sparse ranges take",
            "task_kind",
        );
        let layers =
            |name: &str, help: &str| must(register_histogram!(name, help, LAYERS.to_vec()));
        let requests = (TaskKind::PageRequestHandler, "PageRequestHandler");
        ReadMetrics {
            gather: by_kind(critical(
                "pageserver_getpage_get_reconstruct_data_seconds",
                "Seconds that a read takes to collect images and records from layers",
                "get_kind",
            )),
            reconstruct: by_kind(critical(
                "pageserver_getpage_reconstruct_seconds",
                "Seconds that a read takes to make values of images and records",
                "get_kind",
            )),
            layers_visited: [
                layers(
                    "pageserver_layers_visited_per_read_global",
                    "Layers that a read of one key visits",
                ),
                layers(
                    "pageserver_layers_visited_per_vectored_read_global",
                    "Layers that a read of several keys visits, per key",
                ),
            ],
            get_vectored: [
                by_task(&vectored, TaskKind::Compaction, "Compaction"),
                by_task(&vectored, requests.0, requests.1),
            ],
            scan: by_task(&scan, requests.0, requests.1),
            wait_lsn: must(register_histogram!(
                "pageserver_wait_lsn_seconds",
                "Seconds that requests wait for WAL",
                CRITICAL_SECONDS.to_vec()
            )),
        }
    }

    /// A read has collected what it needs from this many layers for so many keys.
    pub(super) fn gathered(&self, kind: GetKind, since: Instant, layers: u64, keys: usize) {
        let [singular, vectored] = &self.gather;
        let [per_read, per_key] = &self.layers_visited;
        match kind {
            GetKind::Singular => {
                singular.observe(since.elapsed().as_secs_f64());
                per_read.observe(layers as f64);
            }
            GetKind::Vectored => {
                vectored.observe(since.elapsed().as_secs_f64());
                if keys > 0 {
                    per_key.observe(layers as f64 / keys as f64);
                }
            }
        }
    }

    /// A read has its values.
    pub(super) fn reconstructed(&self, kind: GetKind, since: Instant) {
        let [singular, vectored] = &self.reconstruct;
        let histogram = match kind {
            GetKind::Singular => singular,
            GetKind::Vectored => vectored,
        };
        histogram.observe(since.elapsed().as_secs_f64());
    }

    /// A read of several keys has ended. Only tasks whose reads somebody waits for count.
    pub(super) fn vectored_done(&self, task: TaskKind, since: Instant) {
        if let Some((_, histogram)) = self.get_vectored.iter().find(|(kind, _)| *kind == task) {
            histogram.observe(since.elapsed().as_secs_f64());
        }
    }

    /// A read of a sparse range has ended.
    pub(super) fn scan_done(&self, task: TaskKind, since: Instant) {
        let (kind, histogram) = &self.scan;
        if *kind == task {
            histogram.observe(since.elapsed().as_secs_f64());
        }
    }

    /// A wait for WAL has ended.
    pub(super) fn waited(&self, since: Instant) {
        self.wait_lsn.observe(since.elapsed().as_secs_f64());
    }
}

/// Makes the series of reads and waits appear.
pub fn preinitialize() {
    LazyLock::force(&READS);
    LazyLock::force(&GLOBAL);
    super::initial_size::preinitialize_metrics();
    super::throttle::preinitialize_metrics();
}

/// Declares operations with their label values.
macro_rules! operations {
    ($( $(#[doc = $doc:literal])+ $operation:ident = $label:literal; )+) => {
        /// Background work on a timeline.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum StorageOperation {
            $( $(#[doc = $doc])+ $operation, )+
        }

        impl StorageOperation {
            /// Every kind.
            pub const ALL: &'static [StorageOperation] = &[ $( StorageOperation::$operation, )+ ];

            /// The value of the label `operation`.
            pub const fn label(self) -> &'static str {
                match self { $( StorageOperation::$operation => $label, )+ }
            }
        }
    };
}

operations! {
    /// A frozen layer is written out.
    LayerFlush = "layer flush";
    /// Compaction.
    Compact = "compact";
    /// The part of compaction that makes images.
    CreateImages = "create images";
    /// The sizes of all relations are summed up.
    LogicalSize = "logical size";
    /// Accesses are imitated, so that what is needed to compute sizes is not evicted.
    ImitateLogicalSize = "imitate logical size";
    /// The timeline's layers are found at load.
    LoadLayerMap = "load layer map";
}

static GLOBAL: LazyLock<HistogramVec> = LazyLock::new(|| {
    must(register_histogram_vec!(
        "pageserver_storage_operations_seconds_global",
        "Seconds that background work on a timeline takes",
        &["operation"],
        OPERATION_SECONDS.to_vec()
    ))
});

/// What one timeline's background work has taken.
#[derive(Debug, Default)]
pub struct OperationMetrics {
    /// By operation.
    work: [Work; StorageOperation::ALL.len()],
}

#[derive(Debug, Default)]
struct Work {
    nanos: AtomicU64,
    count: AtomicU64,
}

/// Work under way; counts when it is dropped, however it ends.
#[must_use]
pub struct OperationTimer<'a> {
    started: Instant,
    operation: StorageOperation,
    work: &'a OperationMetrics,
}

impl OperationMetrics {
    /// Begins to measure.
    pub fn start(&self, operation: StorageOperation) -> OperationTimer<'_> {
        self.begun_at(operation, Instant::now())
    }

    /// Measures what began before.
    pub(super) fn begun_at(
        &self,
        operation: StorageOperation,
        started: Instant,
    ) -> OperationTimer<'_> {
        OperationTimer { started, operation, work: self }
    }

    /// Seconds and pieces of each kind of work that there was.
    pub fn all(&self) -> impl Iterator<Item = (StorageOperation, f64, u64)> {
        let all = StorageOperation::ALL.iter().zip(&self.work);
        all.filter_map(|(operation, work)| {
            let count = work.count.load(Ordering::Relaxed);
            let seconds = work.nanos.load(Ordering::Relaxed) as f64 / 1e9;
            (count > 0).then_some((*operation, seconds, count))
        })
    }
}

impl Drop for OperationTimer<'_> {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        if let Some(work) = self.work.work.get(self.operation as usize) {
            let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
            work.nanos.fetch_add(nanos, Ordering::Relaxed);
            work.count.fetch_add(1, Ordering::Relaxed);
        }
        GLOBAL.with_label_values(&[self.operation.label()]).observe(elapsed.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_is_summed_up_by_its_kind() {
        let work = OperationMetrics::default();
        assert_eq!(work.all().count(), 0);
        drop(work.start(StorageOperation::Compact));
        let began = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        drop(work.begun_at(StorageOperation::LayerFlush, began));
        drop(work.begun_at(StorageOperation::LayerFlush, began));
        let all: Vec<_> = work.all().collect();
        let [(StorageOperation::LayerFlush, seconds, 2), (StorageOperation::Compact, _, 1)] =
            all.as_slice()
        else {
            panic!("{all:?}");
        };
        assert!(*seconds >= 4.0);
    }
}
