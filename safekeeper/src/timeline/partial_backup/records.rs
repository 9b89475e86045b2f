//! The records of partial segments in the control file: what each step turns them into.

use postgres_ffi::xlog::segment_file_name;
use utils::{Lsn, NodeId};
use wal_quorum::Term;
use wal_quorum::control_file::{PartialBackupState, PartialRemoteSegment, UploadStatus};

use crate::wal_storage::segno;

/// The record of an upload of everything up to `flush_lsn` that is about to begin.
pub(super) fn new_record(
    term: Term,
    flush_lsn: Lsn,
    commit_lsn: Lsn,
    id: NodeId,
) -> PartialRemoteSegment {
    let segment = segment_file_name(segno(flush_lsn));
    let (flush, commit) = (flush_lsn.0, commit_lsn.0);
    PartialRemoteSegment {
        status: UploadStatus::InProgress,
        name: format!("{segment}_{term}_{flush:016X}_{commit:016X}_sk{id}.partial"),
        commit_lsn,
        flush_lsn,
        term,
    }
}

/// The finished upload of exactly this content.
pub(super) fn find_upload<'a>(
    records: &'a PartialBackupState,
    wanted: &PartialRemoteSegment,
) -> Option<&'a PartialRemoteSegment> {
    let mut uploads = records.segments.iter().filter(|it| it.status == UploadStatus::Uploaded);
    uploads.find(|it| {
        (it.flush_lsn, it.commit_lsn, it.term) == (wanted.flush_lsn, wanted.commit_lsn, wanted.term)
    })
}

/// Before an upload. An attempt at the same object that failed is not recorded twice: else the
/// older record would have the object deleted later.
pub(super) fn with_upload_begun(
    records: &PartialBackupState,
    segment: &PartialRemoteSegment,
) -> PartialBackupState {
    let mut segments = records.segments.clone();
    segments.retain(|it| it.name != segment.name);
    segments.push(segment.clone());
    PartialBackupState { segments }
}

/// After an upload: it alone is valid.
pub(super) fn with_upload_done(
    records: &PartialBackupState,
    segment: &PartialRemoteSegment,
) -> PartialBackupState {
    let mut segments = records.segments.clone();
    for it in &mut segments {
        it.status = match it.name == segment.name {
            true => UploadStatus::Uploaded,
            false => UploadStatus::Deleting,
        };
    }
    PartialBackupState { segments }
}

/// Names of the objects to delete.
pub(super) fn unneeded_names(records: &PartialBackupState) -> Vec<String> {
    let unneeded = records.segments.iter().filter(|it| it.status != UploadStatus::Uploaded);
    unneeded.map(|it| it.name.clone()).collect()
}

#[cfg(test)]
mod tests;
