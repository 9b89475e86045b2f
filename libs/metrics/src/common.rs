//! The metrics that all daemons have in common.
//!
//! `process_*` metrics come from the registry itself; here are the build, the launch time,
//! resource usage and the counts of log events.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};

/// A block of getrusage(2)'s I/O counts.
const RUSAGE_BLOCK_BYTES: i64 = 512;

/// Registers the common metrics. To be called once, at start.
///
/// `revision` and `build_tag` become the labels of `libmetrics_build_info`.
pub fn init(revision: &str, build_tag: &str) -> Result<(), prometheus::Error> {
    let build_info = IntGaugeVec::new(
        Opts::new("libmetrics_build_info", "Build/version information"),
        &["revision", "build_tag"],
    )?;
    build_info.with_label_values(&[revision, build_tag]).set(1);
    prometheus::register(Box::new(build_info))?;

    let launched = IntGauge::new(
        "libmetrics_launch_timestamp",
        "Timestamp (milliseconds since epoch) at which the process launched",
    )?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    launched.set(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
    prometheus::register(Box::new(launched))?;

    prometheus::register(Box::new(ResourceUsage::new()?))?;
    prometheus::register(Box::new(LogEvents::new()?))
}

/// Reads getrusage(2) when the metrics are collected.
struct ResourceUsage {
    disk_io_bytes: IntGaugeVec,
    maxrss_kb: IntGauge,
    locked_kb: IntGauge,
}

impl ResourceUsage {
    fn new() -> Result<Self, prometheus::Error> {
        Ok(ResourceUsage {
            disk_io_bytes: IntGaugeVec::new(
                Opts::new(
                    "libmetrics_disk_io_bytes_total",
                    "Bytes written and read from disk, grouped by the operation",
                ),
                &["io_operation"],
            )?,
            maxrss_kb: IntGauge::new(
                "libmetrics_maxrss_kb",
                "Memory usage (maximum resident set size)",
            )?,
            locked_kb: IntGauge::new(
                "libmetrics_process_status_vmlck",
                "Memory that is locked (VmLck of /proc/self/status, in KiB)",
            )?,
        })
    }
}

impl Collector for ResourceUsage {
    fn desc(&self) -> Vec<&Desc> {
        let mut descriptions = self.disk_io_bytes.desc();
        descriptions.extend(self.maxrss_kb.desc());
        descriptions.extend(self.locked_kb.desc());
        descriptions
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Fails only for an invalid `who`; the last values stand then.
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let set_io = |operation, blocks: i64| {
                self.disk_io_bytes
                    .with_label_values(&[operation])
                    .set(blocks.saturating_mul(RUSAGE_BLOCK_BYTES));
            };
            set_io("read", usage.block_reads());
            set_io("write", usage.block_writes());
            self.maxrss_kb.set(usage.max_rss());
        }
        if let Some(kb) = locked_memory_kb() {
            self.locked_kb.set(kb);
        }
        let mut families = self.disk_io_bytes.collect();
        families.extend(self.maxrss_kb.collect());
        families.extend(self.locked_kb.collect());
        families
    }
}

/// `None` where there is no /proc.
fn locked_memory_kb() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Exposes the counts that the logging set-up keeps.
struct LogEvents {
    events: IntCounterVec,
    /// One collection at a time: two would both add what is missing.
    collecting: Mutex<()>,
}

impl LogEvents {
    fn new() -> Result<Self, prometheus::Error> {
        let options =
            Opts::new("libmetrics_tracing_event_count", "Number of tracing events, by level");
        Ok(LogEvents {
            events: IntCounterVec::new(options, &["level"])?,
            collecting: Mutex::default(),
        })
    }
}

impl Collector for LogEvents {
    fn desc(&self) -> Vec<&Desc> {
        self.events.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _alone = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        for (level, count) in utils::logging::event_counts() {
            let counter = self.events.with_label_values(&[level]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.events.collect()
    }
}
