//! Lets the timelines of an active tenant follow their WAL.
//!
//! One receiver per timeline, ended before the timeline is flushed, so that the flush has an end.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use metrics::{IntGaugeVec, register_int_gauge_vec};
use pageserver_api::ShardIdentity;
use postgres_ffi::PgMajor;
use storage_broker::client::BrokerClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utils::{Lsn, TenantTimelineId, TimelineId};

use crate::context::{DownloadBehavior, RequestContext};
use crate::keymap::logical_size::CurrentLogicalSize;
use crate::tasks::{ExitOnError, TaskKind};
use crate::timeline::{Timeline, TimelineKeys};
use crate::walreceiver::{
    PersistedPositions, ReceivedWal, ReceiverTimeline, WalReceiver, WalReceiverConfig,
    WalReceiverStatus,
};

use super::Tenant;

static STANDBY_HORIZON: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "pageserver_standby_horizon",
        "Position from which on hot standbys need a timeline",
        &["tenant_id", "shard_id", "timeline_id"]
    )
    .expect("a metric is registered once")
});

/// How long a receiver may take to end. It commits what it has decoded, which is little.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What receivers share.
#[derive(Clone)]
pub struct ReceiverResources {
    /// Who tells which safekeepers there are.
    pub broker: BrokerClient,
    /// Presented to safekeepers.
    pub auth_token: Option<String>,
    /// Where receivers run.
    pub runtime: tokio::runtime::Handle,
}

/// A running receiver.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    cancel: CancellationToken,
    ended: CancellationToken,
    status: WalReceiverStatus,
}

impl Tenant {
    /// Starts the receiver of a timeline.
    pub(super) fn start_receiver(&self, timeline: &Arc<Timeline>) {
        let resources = &self.resources.receiver;
        let receiver = Receiver {
            cancel: timeline.cancel.child_token(),
            ended: CancellationToken::new(),
            status: WalReceiverStatus::default(),
        };
        let kind = TaskKind::WalReceiverConnectionHandler;
        let keys = timeline.keys(RequestContext::new(kind, DownloadBehavior::Download));
        let service = WalReceiver::new(
            keys,
            resources.broker.clone(),
            self.receiver_config(),
            receiver.status.clone(),
        );
        let span = tracing::info_span!(
            parent: None, "wal_connection_manager",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
            timeline_id = %timeline.timeline_id,
        );
        let (cancel, ended) = (receiver.cancel.clone(), receiver.ended.clone());
        let task = async move {
            // Fires however the receiver ends.
            let _ended = ended.drop_guard();
            service.run(cancel).await;
            Ok::<(), Infallible>(())
        };
        self.timelines().receivers.insert(timeline.timeline_id, receiver);
        let kind = TaskKind::WalReceiverManager;
        timeline.tasks.spawn_on(&resources.runtime, kind, ExitOnError::No, task.instrument(span));
    }

    /// Ends the receiver of a timeline, if it has one.
    pub(super) async fn stop_receiver(&self, timeline: TimelineId) {
        let receiver = self.timelines().receivers.remove(&timeline);
        if let Some(receiver) = receiver {
            receiver.cancel.cancel();
            let ended = tokio::time::timeout(STOP_LIMIT, receiver.ended.cancelled()).await;
            if ended.is_err() {
                tracing::warn!(timeline_id = %timeline,
                    "the WAL receiver has not ended after {STOP_LIMIT:?}, going on without it");
            }
        }
        let shard = &self.tenant_shard_id;
        let labels = [&shard.tenant_id.to_string(), &shard.shard_slug(), &timeline.to_string()];
        // Absent unless a standby was ever heard of.
        let _ = STANDBY_HORIZON.remove_label_values(&labels);
    }

    /// What the receiver of a timeline is doing, for people.
    pub fn receiver_status(&self, timeline: TimelineId) -> String {
        let timelines = self.timelines();
        let status = timelines.receivers.get(&timeline).map(|receiver| receiver.status.text());
        status.unwrap_or_else(|| "stopping or stopped".to_owned())
    }

    /// The WAL that the receiver of a timeline got last.
    pub fn last_received_wal(&self, timeline: TimelineId) -> Option<ReceivedWal> {
        let timelines = self.timelines();
        timelines.receivers.get(&timeline).and_then(|receiver| receiver.status.last_wal())
    }

    fn receiver_config(&self) -> WalReceiverConfig {
        let tenant = &self.tenant_conf.load().effective;
        WalReceiverConfig {
            connect_timeout: tenant.walreceiver_connect_timeout,
            lagging_wal_timeout: tenant.lagging_wal_timeout,
            max_lsn_wal_lag_bytes: tenant.max_lsn_wal_lag,
            ingest_batch_size: self.conf.wal.ingest_batch_size,
            availability_zone: self.conf.wal.availability_zone.clone(),
            auth_token: self.resources.receiver.auth_token.clone(),
            tls: self.conf.tls.safekeepers.clone(),
        }
    }
}

impl ReceiverTimeline for TimelineKeys {
    fn ttid(&self) -> TenantTimelineId {
        let timeline = self.timeline();
        TenantTimelineId::new(timeline.tenant_shard_id.tenant_id, timeline.timeline_id)
    }

    fn shard_identity(&self) -> ShardIdentity {
        self.timeline().shard_identity
    }

    fn pg_major(&self) -> PgMajor {
        self.timeline().pg_major
    }

    fn persisted_positions(&self) -> PersistedPositions {
        PersistedPositions {
            disk_consistent_lsn: self.timeline().disk_consistent_lsn(),
            remote_consistent_lsn: self.timeline().remote_consistent_lsn_visible(),
        }
    }

    fn logical_size(&self) -> CurrentLogicalSize {
        self.timeline().logical_size_for_safekeepers()
    }

    fn lsn_waiters(&self) -> watch::Receiver<bool> {
        self.timeline().lsn_waiters()
    }

    fn set_standby_horizon(&self, lsn: Lsn) {
        let timeline = self.timeline();
        let shard = &timeline.tenant_shard_id;
        let labels =
            [&shard.tenant_id.to_string(), &shard.shard_slug(), &timeline.timeline_id.to_string()];
        STANDBY_HORIZON.with_label_values(&labels).set(lsn.0 as i64);
    }
}
