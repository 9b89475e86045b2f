//! How long reads and waits take, all timelines together, and how long the background work of each
//! timeline does.

use std::sync::LazyLock;
use std::time::Instant;

use metrics::{
    Counter, CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, must,
    register_counter_vec, register_histogram, register_histogram_vec, register_int_counter_vec,
};
use pageserver_api::shard::TenantShardId;
use utils::TimelineId;

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
            const LABELS: &'static [&'static str] = &[ $( $label, )+ ];

            const fn label(self) -> &'static str {
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

const LABELS: &[&str] = &["operation", "tenant_id", "shard_id", "timeline_id"];

static SUM: LazyLock<CounterVec> = LazyLock::new(|| {
    must(register_counter_vec!(
        "pageserver_storage_operations_seconds_sum",
        "Seconds spent on background work of a timeline",
        LABELS
    ))
});
static COUNT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_storage_operations_seconds_count",
        "Pieces of background work of a timeline",
        LABELS
    ))
});
static GLOBAL: LazyLock<HistogramVec> = LazyLock::new(|| {
    must(register_histogram_vec!(
        "pageserver_storage_operations_seconds_global",
        "Seconds that background work on a timeline takes",
        &["operation"],
        OPERATION_SECONDS.to_vec()
    ))
});

/// Tenant, shard and timeline, as metrics are labelled with them.
pub(super) fn metric_labels(shard: &TenantShardId, timeline: &TimelineId) -> [String; 3] {
    [shard.tenant_id.to_string(), shard.shard_slug(), timeline.to_string()]
}

/// Measures one timeline's background work.
#[derive(Debug)]
pub struct OperationMetrics {
    /// Tenant, shard and timeline.
    ids: [String; 3],
}

/// Work under way; counts when it is dropped, however it ends.
#[must_use]
pub struct OperationTimer {
    started: Instant,
    sum: Counter,
    count: IntCounter,
    global: Histogram,
}

impl OperationMetrics {
    pub(super) fn new(ids: [String; 3]) -> Self {
        OperationMetrics { ids }
    }

    /// Begins to measure.
    pub fn start(&self, operation: StorageOperation) -> OperationTimer {
        self.begun_at(operation, Instant::now())
    }

    /// Measures what began before.
    pub(super) fn begun_at(&self, operation: StorageOperation, started: Instant) -> OperationTimer {
        let label = operation.label();
        OperationTimer {
            started,
            sum: SUM.with_label_values(&self.labels(label)),
            count: COUNT.with_label_values(&self.labels(label)),
            global: GLOBAL.with_label_values(&[label]),
        }
    }

    fn labels<'a>(&'a self, operation: &'a str) -> [&'a str; 4] {
        let [tenant, shard, timeline] = &self.ids;
        [operation, tenant, shard, timeline]
    }
}

impl Drop for OperationMetrics {
    fn drop(&mut self) {
        for operation in StorageOperation::LABELS {
            // Absent unless there was such work.
            let _ = SUM.remove_label_values(&self.labels(operation));
            let _ = COUNT.remove_label_values(&self.labels(operation));
        }
    }
}

impl Drop for OperationTimer {
    fn drop(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.sum.inc_by(seconds);
        self.count.inc();
        self.global.observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use utils::TenantId;

    use super::*;

    #[test]
    fn work_is_counted_while_the_timeline_lives() {
        let (tenant, timeline) = (TenantId::generate(), TimelineId::generate());
        let shown = |name: &str| {
            let text = metrics::render().unwrap();
            let line = text
                .lines()
                .find(|line| line.starts_with(name) && line.contains(&timeline.to_string()));
            line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
        };
        let shard = TenantShardId::unsharded(tenant);
        let operations = OperationMetrics::new(metric_labels(&shard, &timeline));
        drop(operations.start(StorageOperation::Compact));
        drop(operations.start(StorageOperation::Compact));
        assert_eq!(shown("pageserver_storage_operations_seconds_count").as_deref(), Some("2"));
        assert!(shown("pageserver_storage_operations_seconds_sum").is_some());
        drop(operations);
        assert_eq!(shown("pageserver_storage_operations_seconds_count"), None);
    }
}
