//! The metadata that goes into the index with every change.

use layer_format::TimelineMetadata;
use utils::Lsn;

use super::Timeline;
use super::layer_manager::LayerManager;
use crate::remote::{Progress, QueueError};

impl Timeline {
    /// Records in the index that everything up to `disk_consistent_lsn` is in layers. The layer
    /// manager is locked so that index uploads are queued in the order in which layers appear.
    pub(super) fn schedule_progress_upload(
        &self,
        layers: &LayerManager,
        disk_consistent_lsn: Lsn,
    ) -> Result<(), QueueError> {
        let record = self.last_record_rlsn();
        // A compute that starts here needs the previous record's position, and it is known
        // only if nothing was ingested beyond what is on disk.
        let exact = disk_consistent_lsn == record.last && record.prev.is_valid();
        self.remote_client.schedule_index_upload_for_progress(&Progress {
            disk_consistent_lsn,
            prev_record_lsn: exact.then_some(record.prev),
            latest_gc_cutoff_lsn: self.latest_gc_cutoff_lsn(),
            logical_size: layers.logical_size_at(disk_consistent_lsn),
        })
    }

    /// The metadata of a branch of this timeline at `start_lsn`.
    pub fn branch_metadata(&self, start_lsn: Lsn) -> TimelineMetadata {
        let record = self.last_record_rlsn();
        let exact = start_lsn == record.last && record.prev.is_valid();
        TimelineMetadata {
            disk_consistent_lsn: start_lsn,
            prev_record_lsn: exact.then_some(record.prev),
            ancestor_timeline: Some(self.timeline_id),
            ancestor_lsn: start_lsn,
            latest_gc_cutoff_lsn: self.latest_gc_cutoff_lsn(),
            initdb_lsn: self.initdb_lsn(),
            pg_version: self.pg_major.number(),
        }
    }
}
