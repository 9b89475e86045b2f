//! What file I/O and the page cache count.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Instant;

use metrics::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, must,
    register_histogram_vec, register_int_counter_vec, register_int_gauge, register_int_gauge_vec,
};

use super::page_cache::PAGE_BYTES;
use crate::tasks::TaskKind;

static OPERATIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    must(register_histogram_vec!(
        "pageserver_io_operations_seconds",
        "Seconds that file operations take",
        &["operation"],
        vec![3e-5, 0.001, 0.03, 1.0, 30.0]
    ))
});
static ACCESSES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_page_cache_read_accesses_total",
        "Blocks asked for through the page cache",
        &["task_kind", "key_kind", "content_kind"]
    ))
});
static HITS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_page_cache_read_hits_total",
        "Blocks found in the page cache",
        &["task_kind", "key_kind", "content_kind", "hit_kind"]
    ))
});
static VICTIM_ITERATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_page_cache_find_victim_iters_total",
        "Slots of the page cache looked at to find room",
        &["outcome"]
    ))
});
static VICTIM_CALLS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_page_cache_find_victim_calls",
        "Searches for room in the page cache",
        &["outcome"]
    ))
});
static ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "page_cache_errors_total",
        "Blocks that could not be cached",
        &["error_kind"]
    ))
});
static CURRENT_BYTES: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    must(register_int_gauge_vec!(
        "pageserver_page_cache_size_current_bytes",
        "Bytes in the page cache",
        &["key_kind"]
    ))
});
static MAX_BYTES: LazyLock<IntGauge> = LazyLock::new(|| {
    must(register_int_gauge!(
        "pageserver_page_cache_size_max_bytes",
        "Bytes that the page cache may hold"
    ))
});
static MAX_DESCRIPTORS: LazyLock<IntGauge> = LazyLock::new(|| {
    must(register_int_gauge!(
        "pageserver_virtual_file_descriptor_cache_size_max",
        "Descriptors of layer files that may be open at once"
    ))
});
static ENGINE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    must(register_int_gauge_vec!(
        "pageserver_virtual_file_io_engine_kind",
        "1 for the I/O engine in use",
        &["kind"]
    ))
});

/// What all blocks are keyed by.
const KEY_KIND: &str = "immutable";
/// The only kind of hit: the very block.
const HIT_KIND: &str = "-";

/// Declares operations with their label values.
macro_rules! io_operations {
    ($( $(#[doc = $doc:literal])+ $name:ident = $label:literal; )+) => {
        /// A file operation.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum IoOperation {
            $( $(#[doc = $doc])+ $name, )+
        }

        impl IoOperation {
            const LABELS: &'static [&'static str] = &[ $( $label, )+ ];
        }
    };
}

io_operations! {
    /// The first opening of a file.
    Open = "open";
    /// Opening a file again that had lost its descriptor.
    OpenAfterReplace = "open-after-replace";
    /// Closing a file that is not needed any more.
    Close = "close";
    /// Closing a file to make room for another.
    CloseByReplace = "close-by-replace";
    /// Reading.
    Read = "read";
    /// Asking for the length.
    Metadata = "metadata";
}

static OPERATION_HISTOGRAMS: LazyLock<Vec<Histogram>> = LazyLock::new(|| {
    let labels = IoOperation::LABELS.iter();
    labels.map(|label| OPERATIONS.with_label_values(&[label])).collect()
});

impl IoOperation {
    /// Runs the operation and notes how long it took.
    pub(super) fn time<R>(self, operation: impl FnOnce() -> R) -> R {
        let started = Instant::now();
        let result = operation();
        if let Some(histogram) = OPERATION_HISTOGRAMS.get(self as usize) {
            histogram.observe(started.elapsed().as_secs_f64());
        }
        result
    }
}

/// What a cached block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// A node of a delta layer's index.
    DeltaLayerBtreeNode,
    /// A node of an image layer's index.
    ImageLayerBtreeNode,
}

impl ContentKind {
    const ALL: [ContentKind; 2] =
        [ContentKind::DeltaLayerBtreeNode, ContentKind::ImageLayerBtreeNode];

    fn label(self) -> &'static str {
        match self {
            ContentKind::DeltaLayerBtreeNode => "DeltaLayerBtreeNode",
            ContentKind::ImageLayerBtreeNode => "ImageLayerBtreeNode",
        }
    }
}

/// Accesses and hits of one kind of task for one kind of content.
struct AccessCounters {
    accesses: IntCounter,
    hits: IntCounter,
}

/// By content kind, then task kind: looking series up by their labels would cost more than a hit.
static COUNTERS: LazyLock<Vec<Vec<AccessCounters>>> = LazyLock::new(|| {
    let of = |content: ContentKind, task: &TaskKind| AccessCounters {
        accesses: ACCESSES.with_label_values(&[task.name(), KEY_KIND, content.label()]),
        hits: HITS.with_label_values(&[task.name(), KEY_KIND, content.label(), HIT_KIND]),
    };
    ContentKind::ALL
        .iter()
        .map(|content| TaskKind::ALL.iter().map(|task| of(*content, task)).collect())
        .collect()
});

thread_local! {
    /// On whose behalf this thread reads.
    static TASK: Cell<TaskKind> = const { Cell::new(TaskKind::DebugTool) };
}

/// Runs `read` on behalf of a kind of task: its accesses are counted as that task's.
pub fn with_task_kind<R>(task: TaskKind, read: impl FnOnce() -> R) -> R {
    let before = TASK.replace(task);
    let result = read();
    TASK.set(before);
    result
}

/// Counts a block that was asked for.
pub(super) fn count_access(content: ContentKind, hit: bool) {
    let task = TASK.get() as usize;
    let Some(counters) = COUNTERS.get(content as usize).and_then(|tasks| tasks.get(task)) else {
        return;
    };
    counters.accesses.inc();
    if hit {
        counters.hits.inc();
    }
}

/// How a search for room ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum VictimOutcome {
    /// There was room.
    FoundEmpty,
    /// A block had to go.
    FoundEvicted,
    /// There is no room, and none can be made.
    ItersExceeded,
}

/// Counts a search for room.
pub(super) fn count_victim(outcome: VictimOutcome, looked_at: usize) {
    let label = match outcome {
        VictimOutcome::FoundEmpty => "found_empty",
        VictimOutcome::FoundEvicted => "found_evicted",
        VictimOutcome::ItersExceeded => {
            ERRORS.with_label_values(&["evict-iter-limit"]).inc();
            "err_iters_exceeded"
        }
    };
    VICTIM_CALLS.with_label_values(&[label]).inc();
    VICTIM_ITERATIONS.with_label_values(&[label]).inc_by(looked_at as u64);
}

/// Publishes the limits, and makes the series of the read path appear.
pub(super) fn set_limits(max_descriptors: usize, cache_blocks: usize) {
    MAX_DESCRIPTORS.set(i64::try_from(max_descriptors).unwrap_or(i64::MAX));
    MAX_BYTES.set(i64::try_from(cache_blocks.saturating_mul(PAGE_BYTES)).unwrap_or(i64::MAX));
    CURRENT_BYTES.with_label_values(&[KEY_KIND]);
    ENGINE.with_label_values(&["std-fs"]).set(1);
    LazyLock::force(&OPERATION_HISTOGRAMS);
}

/// Publishes how full the cache is. Called when metrics are asked for.
pub fn set_cached_blocks(blocks: usize) {
    let bytes = i64::try_from(blocks.saturating_mul(PAGE_BYTES)).unwrap_or(i64::MAX);
    CURRENT_BYTES.with_label_values(&[KEY_KIND]).set(bytes);
}
