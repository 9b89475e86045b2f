//! Gauges of every timeline, computed when they are asked for. A timeline that is gone has none.

use std::sync::{Arc, Weak};

use metrics::core::{Collector, Desc};
use metrics::prometheus::proto::MetricFamily;
use metrics::{IntGauge, IntGaugeVec, Opts};

use crate::timeline::Timeline;

use super::TenantManager;
use super::slots::Slot;

const TIMELINE_LABELS: &[&str] = &["tenant_id", "shard_id", "timeline_id"];

/// Looks at all timelines at each scrape.
struct TimelineGauges {
    tenants: Weak<TenantManager>,
    last_record_lsn: IntGaugeVec,
    disk_consistent_lsn: IntGaugeVec,
    logical_size_bytes: IntGaugeVec,
    resident_size_bytes: IntGaugeVec,
    remote_size_bytes: IntGaugeVec,
    resident_size_total_bytes: IntGauge,
    remote_size_total_bytes: IntGauge,
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
    }
}

impl Collector for TimelineGauges {
    fn desc(&self) -> Vec<&Desc> {
        let mut descriptions: Vec<&Desc> =
            self.per_timeline().into_iter().flat_map(Collector::desc).collect();
        descriptions.extend(self.resident_size_total_bytes.desc());
        descriptions.extend(self.remote_size_total_bytes.desc());
        descriptions
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for gauge in self.per_timeline() {
            gauge.reset();
        }
        self.resident_size_total_bytes.set(0);
        self.remote_size_total_bytes.set(0);
        let slots = self.tenants.upgrade().and_then(|tenants| tenants.list().ok());
        for (_, slot) in slots.into_iter().flatten() {
            if let Slot::Attached(tenant) = slot {
                tenant.list_timelines().iter().for_each(|timeline| self.observe(timeline));
            }
        }
        let mut families: Vec<MetricFamily> =
            self.per_timeline().into_iter().flat_map(Collector::collect).collect();
        families.extend(self.resident_size_total_bytes.collect());
        families.extend(self.remote_size_total_bytes.collect());
        families
    }
}
