//! Moving an idle timeline to the archive and bringing it back.
//!
//! Called by the manager alone, while nobody holds a guard: nobody writes or reads WAL files
//! meanwhile. The control file is the one witness of where the newest WAL is.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use postgres_ffi::xlog::segment_file_name;
use wal_quorum::control_file::PartialRemoteSegment;

use super::{Timeline, TimelineError};
use crate::blocking;
use crate::metrics::{EVICTION_EVENTS_COMPLETED, EVICTION_EVENTS_STARTED};
use crate::wal_storage::{SEGMENT_SIZE, segno};

/// Offloads the timeline, whose whole newest WAL is in the object that `uploaded` names.
pub(super) async fn evict(
    timeline: &Timeline,
    uploaded: &PartialRemoteSegment,
) -> Result<(), TimelineError> {
    EVICTION_EVENTS_STARTED.with_label_values(&["evict"]).inc();
    cut_incomplete_record(timeline).await?;
    check_local_copy(timeline, uploaded).await?;
    let mut state = timeline.write().await;
    timeline.check_usable()?;
    let unchanged = state.flush_position().flush_lsn == uploaded.flush_lsn
        && state.last_log_term() == uploaded.term
        && state.commit_lsn() == uploaded.commit_lsn;
    if !unchanged || state.is_offloaded() {
        let reason = "more was written meanwhile".to_owned();
        return Err(mismatch(timeline, uploaded, reason));
    }
    let segments = timeline.segments();
    blocking::run(|| state.offload(&segments))?;
    if timeline.config().delete_offloaded_wal {
        let last = segno(uploaded.flush_lsn);
        blocking::run(|| segments.remove_up_to(last))
            .map_err(|source| TimelineError::Remove { ttid: timeline.ttid(), source })?;
    }
    EVICTION_EVENTS_COMPLETED.with_label_values(&["evict"]).inc();
    tracing::info!("successfully evicted timeline");
    Ok(())
}

/// Bytes after the last whole record were never acknowledged to anybody. They are not in the
/// archive, and without them the local segment is the same as the archived one.
async fn cut_incomplete_record(timeline: &Timeline) -> Result<(), TimelineError> {
    let ttid = timeline.ttid();
    let mut state = timeline.write().await;
    timeline.check_usable()?;
    let end = state.flush_lsn();
    let wal = state.acceptor_mut()?.wal_mut();
    blocking::run(|| wal.truncate(end)).map_err(|source| TimelineError::Truncate { ttid, source })
}

/// Brings the timeline back.
pub(super) async fn restore(
    timeline: &Timeline,
    uploaded: &PartialRemoteSegment,
) -> Result<(), TimelineError> {
    EVICTION_EVENTS_STARTED.with_label_values(&["restore"]).inc();
    let segments = timeline.segments();
    let last = segno(uploaded.flush_lsn);
    if !check_local_copy(timeline, uploaded).await? {
        let content = download(timeline, uploaded).await?;
        blocking::run(|| segments.restore(last, &content))
            .map_err(|source| TimelineError::Open { ttid: timeline.ttid(), source })?;
    }
    let mut state = timeline.write().await;
    timeline.check_usable()?;
    blocking::run(|| state.restore(&segments))?;
    EVICTION_EVENTS_COMPLETED.with_label_values(&["restore"]).inc();
    tracing::info!("successfully restored evicted timeline");
    Ok(())
}

async fn download(
    timeline: &Timeline,
    uploaded: &PartialRemoteSegment,
) -> Result<Bytes, TimelineError> {
    let ttid = timeline.ttid();
    let archive = timeline.archive().ok_or(TimelineError::NoArchive(ttid))?;
    let cancel = timeline.cancellation();
    let content = archive.download_partial(ttid, &uploaded.name, cancel).await?;
    let expected = uploaded.flush_lsn.segment_offset(SEGMENT_SIZE);
    match content.len() as u64 == expected {
        true => Ok(content),
        false => {
            let reason = format!("the object has {} bytes, expected {expected}", content.len());
            Err(mismatch(timeline, uploaded, reason))
        }
    }
}

/// Whether there is a local segment. If so it must be what the archive has, followed by zeros.
async fn check_local_copy(
    timeline: &Timeline,
    uploaded: &PartialRemoteSegment,
) -> Result<bool, TimelineError> {
    let opened = timeline.segments().open_local(segno(uploaded.flush_lsn));
    let opened = opened.map_err(|source| TimelineError::Open { ttid: timeline.ttid(), source })?;
    let Some(mut file) = opened else { return Ok(false) };
    let archived = download(timeline, uploaded).await?;
    match blocking::run(|| compare(&mut file, &archived)) {
        Ok(None) => Ok(true),
        Ok(Some(reason)) => Err(mismatch(timeline, uploaded, reason.to_owned())),
        Err(error) => Err(TimelineError::io("read", timeline.dir())(error)),
    }
}

/// What is wrong with a local segment, if anything.
fn compare(file: &mut File, archived: &[u8]) -> std::io::Result<Option<&'static str>> {
    let mut local = Vec::with_capacity(SEGMENT_SIZE as usize);
    file.read_to_end(&mut local)?;
    if local.len() as u64 != SEGMENT_SIZE {
        return Ok(Some("the local file is not as long as a segment"));
    }
    Ok(match local.split_at_checked(archived.len()) {
        Some((head, tail)) if head == archived => {
            let zeros = tail.iter().all(|byte| *byte == 0);
            (!zeros).then_some("the local file holds something after the end of WAL")
        }
        Some(_) | None => Some("the contents differ"),
    })
}

fn mismatch(timeline: &Timeline, uploaded: &PartialRemoteSegment, reason: String) -> TimelineError {
    let segment = segment_file_name(segno(uploaded.flush_lsn));
    TimelineError::SegmentMismatch { ttid: timeline.ttid(), segment, reason }
}
