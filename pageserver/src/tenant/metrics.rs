//! Gauges of every timeline, computed when they are asked for. A timeline that is gone has none.

use std::sync::{Arc, Weak};

use metrics::core::{Collector, Desc};
use metrics::prometheus::proto::MetricFamily;
use metrics::{CounterVec, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::secondary::SecondaryTenant;
use crate::timeline::Timeline;

use super::TenantManager;

const TIMELINE_LABELS: &[&str] = &["tenant_id", "shard_id", "timeline_id"];
const OPERATION_LABELS: &[&str] = &["operation", "tenant_id", "shard_id", "timeline_id"];

/// Looks at all timelines at each scrape.
struct TimelineGauges {
    tenants: Weak<TenantManager>,
    last_record_lsn: IntGaugeVec,
    disk_consistent_lsn: IntGaugeVec,
    logical_size_bytes: IntGaugeVec,
    resident_size_bytes: IntGaugeVec,
    remote_size_bytes: IntGaugeVec,
    io_bytes: IntGaugeVec,
    work: WorkMetrics,
    evictions: IntCounterVec,
    soon_evicted: IntCounterVec,
    secondary_size_bytes: IntGaugeVec,
    resident_size_total_bytes: IntGauge,
    remote_size_total_bytes: IntGauge,
}

/// What was written and done.
struct WorkMetrics {
    directory_entries: IntGaugeVec,
    operation_seconds: CounterVec,
    operations: IntCounterVec,
}

impl WorkMetrics {
    fn new() -> Result<Self, metrics::prometheus::Error> {
        Ok(WorkMetrics {
            directory_entries: per_timeline(
                "pageserver_directory_entries_count",
                "Entries of the directories of a timeline that has very many",
            )?,
            operation_seconds: CounterVec::new(
                Opts::new(
                    "pageserver_storage_operations_seconds_sum",
                    "Seconds spent on background work of a timeline",
                ),
                OPERATION_LABELS,
            )?,
            operations: IntCounterVec::new(
                Opts::new(
                    "pageserver_storage_operations_seconds_count",
                    "Pieces of background work of a timeline",
                ),
                OPERATION_LABELS,
            )?,
        })
    }

    fn observe(&self, timeline: &Timeline, labels: [&str; 3]) {
        if let Some(entries) = timeline.directory_counts().remarkable_sum() {
            self.directory_entries.with_label_values(&labels).set(entries as i64);
        }
        let [tenant, shard, id] = labels;
        for (operation, seconds, count) in timeline.operations().all() {
            let labels = [operation.label(), tenant, shard, id];
            self.operation_seconds.with_label_values(&labels).inc_by(seconds);
            self.operations.with_label_values(&labels).inc_by(count);
        }
    }

    fn reset(&self) {
        self.directory_entries.reset();
        self.operation_seconds.reset();
        self.operations.reset();
    }

    fn all(&self) -> [&dyn Collector; 3] {
        [&self.directory_entries, &self.operation_seconds, &self.operations]
    }
}

impl TenantManager {
    /// Registers the gauges of its timelines. To be called once per process.
    pub fn register_metrics(self: &Arc<Self>) -> Result<(), metrics::prometheus::Error> {
        metrics::register(Box::new(TimelineGauges::new(Arc::downgrade(self))?))
    }
}

fn per_timeline(name: &str, help: &str) -> Result<IntGaugeVec, metrics::prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), TIMELINE_LABELS)
}

impl TimelineGauges {
    fn new(tenants: Weak<TenantManager>) -> Result<Self, metrics::prometheus::Error> {
        Ok(TimelineGauges {
            tenants,
            last_record_lsn: per_timeline(
                "pageserver_last_record_lsn",
                "End of the last ingested record",
            )?,
            disk_consistent_lsn: per_timeline(
                "pageserver_disk_consistent_lsn",
                "Position up to which everything is in layer files",
            )?,
            logical_size_bytes: per_timeline(
                "pageserver_current_logical_size",
                "Size of the databases in bytes",
            )?,
            resident_size_bytes: per_timeline(
                "pageserver_resident_physical_size",
                "Size of the layer files on the local disk in bytes",
            )?,
            remote_size_bytes: per_timeline(
                "pageserver_remote_physical_size",
                "Size of the layers that the uploaded index names in bytes",
            )?,
            io_bytes: IntGaugeVec::new(
                Opts::new(
                    "pageserver_io_operations_bytes_total",
                    "Bytes of layer files read and written",
                ),
                OPERATION_LABELS,
            )?,
            work: WorkMetrics::new()?,
            evictions: IntCounterVec::new(
                Opts::new("pageserver_evictions", "Layers whose local file was removed"),
                TIMELINE_LABELS,
            )?,
            soon_evicted: IntCounterVec::new(
                Opts::new(
                    "pageserver_evictions_with_low_residence_duration",
                    "Layers whose local file was removed soon after it came",
                ),
                &[
                    "tenant_id",
                    "shard_id",
                    "timeline_id",
                    "residence_duration_data_source",
                    "low_threshold_secs",
                ],
            )?,
            secondary_size_bytes: IntGaugeVec::new(
                Opts::new(
                    "pageserver_secondary_resident_physical_size",
                    "Size of the layer files of a secondary location in bytes",
                ),
                &["tenant_id", "shard_id"],
            )?,
            resident_size_total_bytes: IntGauge::new(
                "pageserver_resident_physical_size_global",
                "Sum of pageserver_resident_physical_size",
            )?,
            remote_size_total_bytes: IntGauge::new(
                "pageserver_remote_physical_size_global",
                "Sum of pageserver_remote_physical_size",
            )?,
        })
    }

    fn per_timeline(&self) -> [&IntGaugeVec; 5] {
        [
            &self.last_record_lsn,
            &self.disk_consistent_lsn,
            &self.logical_size_bytes,
            &self.resident_size_bytes,
            &self.remote_size_bytes,
        ]
    }

    fn observe(&self, timeline: &Timeline) {
        let shard = &timeline.tenant_shard_id;
        let (tenant, slug) = (shard.tenant_id.to_string(), shard.shard_slug());
        let labels = [tenant.as_str(), slug.as_str(), &timeline.timeline_id.to_string()];
        let resident = timeline.resident_physical_size() as i64;
        let remote = timeline.remote_client.remote_physical_size() as i64;
        let values = [
            timeline.last_record_lsn().0 as i64,
            timeline.disk_consistent_lsn().0 as i64,
            timeline.logical_size().current().bytes() as i64,
            resident,
            remote,
        ];
        for (gauge, value) in self.per_timeline().into_iter().zip(values) {
            gauge.with_label_values(&labels).set(value);
        }
        self.resident_size_total_bytes.add(resident);
        self.remote_size_total_bytes.add(remote);
        self.observe_layers(timeline, labels);
        self.work.observe(timeline, labels);
    }

    fn observe_layers(&self, timeline: &Timeline, labels: [&str; 3]) {
        let counters = timeline.layer_counters();
        let [tenant, shard, id] = labels;
        for (operation, bytes) in
            [("read", counters.bytes_read()), ("write", counters.bytes_written())]
        {
            self.io_bytes.with_label_values(&[operation, tenant, shard, id]).set(bytes as i64);
        }
        self.evictions.with_label_values(&labels).inc_by(counters.evictions());
        let conf = timeline.tenant_conf.load();
        let threshold = conf.effective.evictions_low_residence_duration_metric_threshold;
        let seconds = threshold.as_secs().to_string();
        let labels = [tenant, shard, id, "mtime", &seconds];
        self.soon_evicted.with_label_values(&labels).inc_by(counters.soon_evicted(threshold));
    }

    fn observe_secondary(&self, secondary: &SecondaryTenant) {
        let shard = &secondary.tenant_shard_id;
        let labels = [&shard.tenant_id.to_string(), &shard.shard_slug()];
        let bytes = secondary.resident_bytes() as i64;
        self.secondary_size_bytes.with_label_values(&labels).set(bytes);
    }

    /// Everything that is collected.
    fn all(&self) -> Vec<&dyn Collector> {
        let mut all: Vec<&dyn Collector> = Vec::new();
        all.extend(self.per_timeline().map(|gauge| gauge as &dyn Collector));
        all.extend([&self.io_bytes, &self.secondary_size_bytes].map(|g| g as &dyn Collector));
        all.extend([&self.evictions, &self.soon_evicted].map(|c| c as &dyn Collector));
        all.extend(self.work.all());
        all.extend(
            [&self.resident_size_total_bytes, &self.remote_size_total_bytes]
                .map(|gauge| gauge as &dyn Collector),
        );
        all
    }
}

impl Collector for TimelineGauges {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for gauge in self.per_timeline() {
            gauge.reset();
        }
        self.io_bytes.reset();
        self.secondary_size_bytes.reset();
        self.work.reset();
        self.evictions.reset();
        self.soon_evicted.reset();
        self.resident_size_total_bytes.set(0);
        self.remote_size_total_bytes.set(0);
        if let Some(tenants) = self.tenants.upgrade() {
            tenants.observe_page_cache();
            for tenant in tenants.attached() {
                tenant.list_timelines().iter().for_each(|timeline| self.observe(timeline));
            }
            tenants.secondaries().iter().for_each(|secondary| self.observe_secondary(secondary));
        }
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
