//! Archiving the incomplete last segment of a timeline.
//!
//! Every safekeeper does it for itself, some time after the WAL has stopped growing. That bounds
//! what is lost with all safekeepers, and is what an offloaded timeline is brought back from.
//! Every step is recorded in the control file before the object store is touched, so that no
//! object is ever forgotten. Names carry the term of the log, not that of the last vote: equal
//! names mean equal content.

mod records;

use std::sync::Arc;
use std::time::Duration;

use utils::Lsn;
use wal_quorum::control_file::{PartialBackupState, PartialRemoteSegment, UploadStatus};

use super::{FlushPosition, TimelineError, WalResidentTimeline};
use crate::archive::{ArchiveError, WalArchive};
use crate::metrics;
use crate::wal_storage::{SEGMENT_SIZE, WalStorageError, segno};

/// With more records than this, objects nobody needs are deleted before anything else.
const MAX_RECORDS: usize = 10;
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Why a partial segment was not archived. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum PartialBackupError {
    /// The object store failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The control file could not be changed, or the timeline is going away.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// The local segment cannot be read.
    #[error(transparent)]
    Storage(#[from] WalStorageError),
    /// Another leader took over, so the upload may hold WAL of two histories.
    #[error("the log's term changed from {from} to {to} during the upload")]
    TermChanged {
        /// Before the upload.
        from: u64,
        /// After it.
        to: u64,
    },
    /// Somebody else changed the records in the control file.
    #[error("the records of partial segments were changed by somebody else")]
    RecordsChanged,
}

/// The task. It ends when everything is archived.
#[derive(Debug)]
pub struct PartialBackup {
    timeline: WalResidentTimeline,
    archive: Arc<WalArchive>,
    /// The records in the control file, as this task left or found them.
    records: PartialBackupState,
}

impl PartialBackup {
    /// A task that has not looked at the records yet.
    pub fn new(timeline: WalResidentTimeline, archive: Arc<WalArchive>) -> Self {
        Self { timeline, archive, records: PartialBackupState::default() }
    }

    /// Returns the record of the object that holds everything, or nothing if the timeline is
    /// going away. Dropping the work at any point leaves the control file whole.
    pub async fn run(mut self) -> Option<PartialRemoteSegment> {
        let cancel = self.timeline.cancellation().clone();
        tokio::select! {
            () = cancel.cancelled() => None,
            uploaded = self.archive_everything() => Some(uploaded),
        }
    }

    async fn archive_everything(&mut self) -> PartialRemoteSegment {
        self.records = self.timeline.read().await.control().partial_backup.clone();
        loop {
            if self.records.segments.len() > MAX_RECORDS
                && let Err(error) = self.delete_unneeded().await
            {
                tracing::warn!("cannot delete old partial segments: {error}");
            }
            let current = self.current().await;
            if let Some(uploaded) = records::find_upload(&self.records, &current) {
                return uploaded.clone();
            }
            if !self.segment_stays().await {
                continue;
            }
            if let Err(error) = self.upload_current().await {
                metrics::PARTIAL_BACKUP_UPLOADS.with_label_values(&["error"]).inc();
                tracing::warn!("cannot archive the partial segment: {error}");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// The record of what there is now.
    async fn current(&self) -> PartialRemoteSegment {
        let state = self.timeline.read().await;
        let FlushPosition { last_log_term, flush_lsn } = state.flush_position();
        records::new_record(last_log_term, flush_lsn, state.commit_lsn(), self.timeline.config().id)
    }

    /// Waits for WAL, then whether it stays within one segment for a while. A segment that fills
    /// up is archived as a whole, without our help.
    async fn segment_stays(&self) -> bool {
        let mut flushed = self.timeline.watch_flush_position();
        let begun = flushed.wait_for(|position| position.flush_lsn != Lsn::INVALID).await;
        // The timeline holds the sender of the watch and we hold the timeline.
        let Ok(current) = begun.map(|position| segno(position.flush_lsn)) else { return false };
        let left = flushed.wait_for(|position| segno(position.flush_lsn) != current);
        let patience = self.timeline.config().partial_backup_timeout;
        tokio::time::timeout(patience, left).await.is_err()
    }

    async fn upload_current(&mut self) -> Result<(), PartialBackupError> {
        let timer = metrics::misc_timer("partial_permit_acquire");
        let node = self.timeline.node().clone();
        // The semaphore is never closed.
        let _permit = node.partial_uploads.acquire().await;
        timer.observe_duration();
        let current = self.current().await;
        if records::find_upload(&self.records, &current).is_some() {
            return Ok(());
        }
        let _timer = metrics::misc_timer("partial_do_upload");
        let bytes = self.upload(&current).await?;
        metrics::PARTIAL_BACKUP_UPLOADS.with_label_values(&["ok"]).inc();
        metrics::PARTIAL_BACKUP_UPLOADED_BYTES.inc_by(bytes);
        self.delete_unneeded().await
    }

    /// Records the intention, uploads, then makes the upload the valid one.
    async fn upload(&mut self, segment: &PartialRemoteSegment) -> Result<u64, PartialBackupError> {
        self.change(records::with_upload_begun(&self.records, segment)).await?;
        let length = segment.flush_lsn.segment_offset(SEGMENT_SIZE);
        let file = self.timeline.segments().open_local(segno(segment.flush_lsn))?;
        let (ttid, cancel) = (self.timeline.ttid(), self.timeline.cancellation().clone());
        self.archive.upload_partial(ttid, &segment.name, file, length, &cancel).await?;
        let now = self.timeline.read().await.last_log_term();
        if now != segment.term {
            return Err(PartialBackupError::TermChanged { from: segment.term, to: now });
        }
        self.change(records::with_upload_done(&self.records, segment)).await?;
        Ok(length)
    }

    /// Deletes the objects that are not the valid one, then forgets them.
    async fn delete_unneeded(&mut self) -> Result<(), PartialBackupError> {
        let unneeded = records::unneeded_names(&self.records);
        let ttid = self.timeline.ttid();
        if !unneeded.is_empty() {
            self.archive.delete_objects(ttid, &unneeded, self.timeline.cancellation()).await?;
        }
        let mut kept = self.records.clone();
        kept.segments.retain(|segment| segment.status == UploadStatus::Uploaded);
        self.change(kept).await
    }

    /// Replaces the records in the control file, unless somebody else has changed them.
    async fn change(&mut self, records: PartialBackupState) -> Result<(), PartialBackupError> {
        if records == self.records {
            return Ok(());
        }
        let expected = &self.records;
        let mut found = None;
        let new = &records;
        let change = |file: &mut wal_quorum::control_file::ControlFile| {
            if file.partial_backup == *expected {
                file.partial_backup.clone_from(new);
            } else {
                found = Some(file.partial_backup.clone());
            }
        };
        self.timeline.change_control_file(change).await?;
        match found {
            None => {
                self.records = records;
                Ok(())
            }
            Some(found) => {
                self.records = found;
                Err(PartialBackupError::RecordsChanged)
            }
        }
    }
}
