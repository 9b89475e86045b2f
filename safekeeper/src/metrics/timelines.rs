//! Gauges of every active timeline, built anew at each scrape.
//!
//! Timelines come and go, and idle ones would only be noise, so nothing is kept in between.

use std::sync::Arc;
use std::time::Instant;

use metrics::core::{Collector, Desc};
use metrics::prometheus::proto::MetricFamily;
use metrics::{Gauge, GaugeVec, IntGauge, Opts};

use crate::timeline::Timeline;
use crate::timelines::Timelines;
use crate::wal_storage::{SEGMENT_SIZE, segno};

const LABELS: [&str; 2] = ["tenant_id", "timeline_id"];

/// Name and help of each gauge, in the order of [`values`].
const GAUGES: [(&str, &str); 17] = [
    ("safekeeper_commit_lsn", "Current commit_lsn (not necessarily persisted)"),
    ("safekeeper_backup_lsn", "Current backup_lsn, up to which WAL is archived"),
    ("safekeeper_flush_lsn", "Current flush_lsn"),
    ("safekeeper_epoch_start_lsn", "Where the WAL of the connected leader's term begins"),
    ("safekeeper_peer_horizon_lsn", "Position that every safekeeper has reached"),
    ("safekeeper_remote_consistent_lsn", "Position durable in object storage on pageservers"),
    ("safekeeper_ps_last_received_lsn", "Last WAL position a pageserver reported as received"),
    ("safekeeper_feedback_last_time_seconds", "When the last pageserver feedback was sent"),
    ("safekeeper_ps_feedback_count_total", "Pageserver feedbacks received"),
    ("safekeeper_timeline_active", "Whether the timeline is active"),
    ("safekeeper_connected_computes", "Connections that push WAL"),
    ("safekeeper_disk_usage_bytes", "Estimated size of the WAL on the local disk"),
    ("safekeeper_acceptor_term", "Current term"),
    ("safekeeper_wal_backup_active", "Whether this safekeeper archives the timeline's WAL"),
    ("safekeeper_written_wal_bytes_total", "WAL bytes written to disk"),
    ("safekeeper_written_wal_seconds_total", "Time spent writing WAL to disk"),
    ("safekeeper_flushed_wal_seconds_total", "Time spent syncing WAL to disk"),
];

/// Seconds between the Unix epoch and PostgreSQL's.
const PG_EPOCH_UNIX_SECONDS: f64 = 946_684_800.0;

/// Collects the gauges of active timelines.
pub struct TimelineCollector {
    timelines: Arc<Timelines>,
    gauges: Vec<GaugeVec>,
    collect_seconds: Gauge,
    total: IntGauge,
    active: IntGauge,
}

impl TimelineCollector {
    /// A collector to be registered once.
    pub fn new(timelines: Arc<Timelines>) -> Result<Self, metrics::prometheus::Error> {
        let gauge = |(name, help)| GaugeVec::new(Opts::new(name, help), &LABELS);
        Ok(Self {
            timelines,
            gauges: GAUGES.into_iter().map(gauge).collect::<Result<_, _>>()?,
            collect_seconds: Gauge::new(
                "safekeeper_collect_timeline_metrics_seconds",
                "Time spent collecting the metrics of timelines",
            )?,
            total: IntGauge::new("safekeeper_timelines", "Number of loaded timelines")?,
            active: IntGauge::new("safekeeper_active_timelines", "Number of active timelines")?,
        })
    }
}

impl Collector for TimelineCollector {
    fn desc(&self) -> Vec<&Desc> {
        let mut all: Vec<&Desc> = self.gauges.iter().flat_map(Collector::desc).collect();
        all.extend(self.collect_seconds.desc());
        all.extend(self.total.desc());
        all.extend(self.active.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let started = Instant::now();
        let active = self.timelines.active();
        self.gauges.iter().for_each(GaugeVec::reset);
        for timeline in &active {
            let ttid = timeline.ttid();
            let (tenant, id) = (ttid.tenant_id.to_string(), ttid.timeline_id.to_string());
            for (gauge, value) in self.gauges.iter().zip(values(timeline)) {
                if let Some(value) = value {
                    gauge.with_label_values(&[&tenant, &id]).set(value);
                }
            }
        }
        self.total.set(self.timelines.all().len() as i64);
        self.active.set(active.len() as i64);
        self.collect_seconds.set(started.elapsed().as_secs_f64());
        let mut all: Vec<_> = self.gauges.iter().flat_map(Collector::collect).collect();
        all.extend(self.collect_seconds.collect());
        all.extend(self.total.collect());
        all.extend(self.active.collect());
        all
    }
}

/// One timeline's values. Scrapes run where blocking is allowed.
fn values(timeline: &Timeline) -> [Option<f64>; GAUGES.len()] {
    let progress = timeline.senders().pageserver_progress();
    let last_removed = timeline.last_removed_segno();
    let state = timeline.blocking_read();
    let memory = state.control().memory;
    let flush_lsn = state.flush_lsn();
    let effort = state.acceptor().map(|acceptor| acceptor.wal().effort()).unwrap_or_default();
    let disk_usage = (last_removed != 0)
        .then(|| (segno(flush_lsn).saturating_sub(last_removed) * SEGMENT_SIZE) as f64);
    let feedback_time = match progress.count {
        0 => 0.0,
        _ => progress.last.reply_time.0 as f64 / 1e6 + PG_EPOCH_UNIX_SECONDS,
    };
    [
        Some(memory.commit_lsn.0 as f64),
        Some(memory.backup_lsn.0 as f64),
        Some(flush_lsn.0 as f64),
        Some(state.term_start_lsn().0 as f64),
        Some(memory.peer_horizon_lsn.0 as f64),
        Some(memory.remote_consistent_lsn.0 as f64),
        Some(progress.last.last_received_lsn.0 as f64),
        Some(feedback_time),
        Some(progress.count as f64),
        Some(f64::from(u8::from(timeline.is_active()))),
        Some(timeline.receivers().count() as f64),
        disk_usage,
        Some(state.term() as f64),
        Some(f64::from(u8::from(timeline.is_archiving()))),
        Some(effort.written_bytes as f64),
        Some(effort.write_time.as_secs_f64()),
        Some(effort.sync_time.as_secs_f64()),
    ]
}
