//! Copying a timeline, up to some position, to a new one of the same tenant.
//!
//! Archived segments are copied within the archive, the rest through a reader. The new timeline
//! has no term and no history: its first leader begins at the end of the copy.

use utils::{Lsn, TenantTimelineId, TimelineId};
use wal_quorum::control_file::ControlFile;
use wal_quorum::storage::ControlStore;

use super::Timelines;
use super::construction::Construction;
use crate::blocking;
use crate::control_store::FileControlStore;
use crate::timeline::wal_stream::WalStream;
use crate::timeline::{TimelineError, WalResidentTimeline};
use crate::wal_storage::{SEGMENT_SIZE, SegmentDir, WalStorageError, segment_start, segno};

/// More WAL than this is not copied byte by byte.
const MAX_LOCAL_BYTES: u64 = 160 << 20;
const CHUNK_BYTES: u64 = 1 << 20;

/// Why a timeline was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The end is not within the timeline.
    #[error("cannot copy up to {until_lsn}: the timeline has WAL from {start_lsn} to {flush_lsn}")]
    OutOfRange {
        /// As asked for.
        until_lsn: Lsn,
        /// Where the timeline begins.
        start_lsn: Lsn,
        /// Where its WAL ends.
        flush_lsn: Lsn,
    },
    /// The archive lags too far behind.
    #[error(
        "too many segments are not backed up: backup_lsn {backup_lsn}, copying up to {until_lsn}"
    )]
    NotBackedUp {
        /// As asked for.
        until_lsn: Lsn,
        /// Archived up to here.
        backup_lsn: Lsn,
    },
    /// One of the timelines cannot be used.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
}

impl Timelines {
    /// Succeeds without doing anything if the target exists.
    pub async fn copy(
        &self,
        source: TenantTimelineId,
        target: TimelineId,
        until_lsn: Lsn,
    ) -> Result<(), CopyError> {
        let target = TenantTimelineId::new(source.tenant_id, target);
        let timeline = self.get(source)?.resident().await?;
        if self.exists(target) {
            return Ok(());
        }
        let file = plan(&timeline, target, until_lsn).await?;
        if let Some(archive) = timeline.archive() {
            let segments = segno(file.timeline_start_lsn)..segno(file.backup_lsn);
            let cancel = timeline.cancellation();
            let copied = archive.copy_segments(source, target, segments, cancel).await;
            copied.map_err(TimelineError::from)?;
        }
        let construction = self.begin_construction(target)?;
        self.copy_local(&timeline, &construction, &file).await?;
        let mut store = FileControlStore::new(construction.dir(), self.config().durability);
        blocking::run(|| store.persist(&file))
            .map_err(|source| TimelineError::ControlFile { ttid: target, source })?;
        match self.install(construction).await {
            Ok(_) => tracing::info!("copied timeline {source} up to {until_lsn} to {target}"),
            // Somebody else made the same copy meanwhile.
            Err(TimelineError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Writes the segments that the archive does not have for the copy.
    async fn copy_local(
        &self,
        timeline: &WalResidentTimeline,
        construction: &Construction,
        file: &ControlFile,
    ) -> Result<(), CopyError> {
        let end = file.commit_lsn;
        let start = segment_start(segno(file.backup_lsn));
        let mut wal = WalStream::open(timeline, start).await?;
        let segments = SegmentDir::new(construction.dir(), self.config().durability);
        let failed = |source| TimelineError::Open { ttid: file.ttid(), source };
        let mut buffer = vec![0; CHUNK_BYTES as usize];
        while wal.position() < end {
            let number = segno(wal.position());
            let segment = blocking::run(|| segments.open_or_create(number)).map_err(failed)?;
            let path = segments.partial_path(number);
            while segno(wal.position()) == number && wal.position() < end {
                let offset = wal.position().segment_offset(SEGMENT_SIZE);
                let length = wal.next_length(end, CHUNK_BYTES);
                let chunk = buffer.get_mut(..length).unwrap_or_default();
                wal.fill(chunk).await?;
                blocking::run(|| segment.file.write_all_at(chunk, offset))
                    .map_err(WalStorageError::io("write", &path))
                    .map_err(failed)?;
            }
            let synced = blocking::run(|| segment.file.sync_data());
            synced.map_err(WalStorageError::sync(&path)).map_err(failed)?;
            if segno(wal.position()) != number {
                blocking::run(|| segments.mark_complete(number)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// The control file of the copy.
async fn plan(
    timeline: &WalResidentTimeline,
    target: TenantTimelineId,
    until_lsn: Lsn,
) -> Result<ControlFile, CopyError> {
    let state = timeline.read().await;
    let control = state.control();
    let (start_lsn, flush_lsn) = (control.timeline_start_lsn, state.flush_lsn());
    if !start_lsn.is_valid() || until_lsn < start_lsn || until_lsn > flush_lsn {
        return Err(CopyError::OutOfRange { until_lsn, start_lsn, flush_lsn });
    }
    if until_lsn > state.commit_lsn() {
        tracing::warn!("copying up to {until_lsn}, beyond commit_lsn {}", state.commit_lsn());
    }
    let backup_lsn = match timeline.archive() {
        Some(_) => control.memory.backup_lsn,
        None => start_lsn,
    };
    if until_lsn.saturating_sub(backup_lsn) > MAX_LOCAL_BYTES {
        return Err(CopyError::NotBackedUp { until_lsn, backup_lsn });
    }
    let mut file = ControlFile::new(target, control.server, until_lsn, start_lsn);
    file.timeline_start_lsn = start_lsn;
    file.peer_horizon_lsn = until_lsn;
    file.backup_lsn = backup_lsn.min(segment_start(segno(until_lsn))).max(start_lsn);
    Ok(file)
}
