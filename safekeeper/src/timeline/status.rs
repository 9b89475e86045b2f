//! What a timeline tells about itself: the HTTP status object and the broker message.

use std::time::Instant;

use chrono::{DateTime, Utc};
use pq_proto::{PageserverFeedback, PgTimestamp};
use safekeeper_api::models::{
    self, AcceptorStateStatus, PageserverFeedbackStatus, PgInfo, ReplicationFeedback,
    SafekeeperTimelineInfo, StandbyFeedback, TermLsn, TimelineStatus, WalSenderState,
};

use super::Timeline;
use super::senders::{ReaderFeedback, WalSenderSlot};

impl Timeline {
    /// The status object of the HTTP API.
    pub async fn status(&self) -> TimelineStatus {
        let walsenders = self.sender_states();
        let state = self.read().await;
        let persistent = state.control().persistent();
        let memory = state.control().memory;
        let history = &persistent.acceptor_state.term_history.0;
        TimelineStatus {
            tenant_id: self.ttid.tenant_id,
            timeline_id: self.ttid.timeline_id,
            acceptor_state: AcceptorStateStatus {
                term: state.term(),
                epoch: state.last_log_term(),
                term_history: history
                    .iter()
                    .map(|entry| TermLsn { term: entry.term, lsn: entry.lsn })
                    .collect(),
            },
            pg_info: PgInfo {
                pg_version: persistent.server.pg_version,
                system_id: persistent.server.system_id,
                wal_seg_size: persistent.server.wal_seg_size,
            },
            flush_lsn: state.flush_lsn(),
            timeline_start_lsn: persistent.timeline_start_lsn,
            local_start_lsn: persistent.local_start_lsn,
            commit_lsn: memory.commit_lsn,
            backup_lsn: memory.backup_lsn,
            peer_horizon_lsn: memory.peer_horizon_lsn,
            remote_consistent_lsn: memory.remote_consistent_lsn,
            peers: state.peers.alive(Instant::now(), self.config().heartbeat_timeout),
            walsenders,
            walreceivers: self.receivers.all(),
        }
    }

    /// Connections that read WAL.
    pub fn sender_states(&self) -> Vec<WalSenderState> {
        self.senders.all().into_iter().map(|slot| self.sender_status(slot)).collect()
    }

    /// What peers and pageservers hear through the broker.
    pub async fn broker_info(&self) -> SafekeeperTimelineInfo {
        let standby_horizon = self.senders.standby_aggregate().apply_lsn;
        let state = self.read().await;
        let memory = state.control().memory;
        SafekeeperTimelineInfo {
            term: Some(state.term()),
            last_log_term: Some(state.last_log_term()),
            flush_lsn: state.flush_lsn(),
            commit_lsn: memory.commit_lsn,
            backup_lsn: memory.backup_lsn,
            remote_consistent_lsn: memory.remote_consistent_lsn,
            peer_horizon_lsn: memory.peer_horizon_lsn,
            local_start_lsn: state.control().local_start_lsn,
            safekeeper_connstr: Some(self.config().advertise_pg.clone()),
            http_connstr: Some(self.config().listen_http.clone()),
            standby_horizon,
        }
    }

    fn sender_status(&self, slot: WalSenderSlot) -> WalSenderState {
        let feedback = match slot.feedback {
            ReaderFeedback::Pageserver(feedback) => {
                ReplicationFeedback::Pageserver(pageserver_status(&feedback))
            }
            ReaderFeedback::Standby { reply, hot_standby } => {
                ReplicationFeedback::Standby(StandbyFeedback {
                    reply: models::StandbyReply {
                        write_lsn: reply.write_lsn,
                        flush_lsn: reply.flush_lsn,
                        apply_lsn: reply.apply_lsn,
                        reply_ts: reply.timestamp.0,
                        reply_requested: reply.reply_requested,
                    },
                    hs_feedback: models::HotStandbyFeedback {
                        ts: hot_standby.timestamp.0,
                        xmin: hot_standby.xmin,
                        catalog_xmin: hot_standby.catalog_xmin,
                    },
                })
            }
        };
        let WalSenderSlot { addr, conn_id, appname, .. } = slot;
        WalSenderState { ttid: self.ttid.into(), addr, conn_id, appname, feedback }
    }
}

fn pageserver_status(feedback: &PageserverFeedback) -> PageserverFeedbackStatus {
    PageserverFeedbackStatus {
        current_timeline_size: feedback.current_timeline_size_bytes,
        last_received_lsn: feedback.last_received_lsn,
        disk_consistent_lsn: feedback.disk_consistent_lsn,
        remote_consistent_lsn: feedback.remote_consistent_lsn,
        replytime: to_utc(feedback.reply_time),
        shard_number: feedback.shard_number,
    }
}

/// A time outside of what a calendar can express is shown as PostgreSQL's epoch.
fn to_utc(time: PgTimestamp) -> DateTime<Utc> {
    const PG_EPOCH_UNIX_MICROS: i64 = 946_684_800_000_000;
    time.0
        .checked_add(PG_EPOCH_UNIX_MICROS)
        .and_then(DateTime::from_timestamp_micros)
        .unwrap_or(DateTime::UNIX_EPOCH + chrono::Duration::microseconds(PG_EPOCH_UNIX_MICROS))
}
