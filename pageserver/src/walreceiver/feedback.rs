//! What a safekeeper is told about the timeline's progress. It passes it on to the compute.

use std::time::SystemTime;

use pq_proto::feedback::PageserverFeedback;
use pq_proto::timestamp::PgTimestamp;
use utils::Lsn;

use super::timeline::ReceiverTimeline;

/// The timeline's progress now, after WAL up to `last_received_lsn` has been ingested.
pub(super) fn current_feedback<T: ReceiverTimeline>(
    timeline: &T,
    last_received_lsn: Lsn,
) -> PageserverFeedback {
    let shard = timeline.shard_identity();
    let positions = timeline.persisted_positions();
    // Only shard 0 follows the sizes of all relations.
    let size = if shard.is_shard_zero() { timeline.logical_size().bytes() } else { 0 };
    PageserverFeedback {
        current_timeline_size_bytes: size,
        last_received_lsn,
        disk_consistent_lsn: positions.disk_consistent_lsn,
        remote_consistent_lsn: positions.remote_consistent_lsn,
        reply_time: PgTimestamp::from_system_time(SystemTime::now()),
        shard_number: u32::from(shard.number.0),
    }
}
