//! Creating a timeline.
//!
//! The directory is prepared under a temporary name and renamed when its control file is
//! durable: a crash leaves either no timeline or a loadable one.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use camino::Utf8Path;
use postgres_ffi::PgMajor;
use utils::{Lsn, TenantTimelineId};
use wal_quorum::control_file::{ControlFile, ServerInfo};
use wal_quorum::storage::ControlStore;

use super::Timelines;
use crate::blocking;
use crate::control_store::FileControlStore;
use crate::timeline::state::SharedState;
use crate::timeline::{Timeline, TimelineError};
use crate::wal_storage::{SEGMENT_SIZE, SegmentDir};

/// Suffix of a timeline directory under construction; such leftovers are removed at start.
pub(super) const CREATING_SUFFIX: &str = ".creating";

/// What a creator knows of the timeline.
#[derive(Clone, Copy, Debug)]
pub struct NewTimeline {
    /// Tenant and timeline.
    pub ttid: TenantTimelineId,
    /// The cluster that will write to it.
    pub server: ServerInfo,
    /// WAL up to here is known committed; 0/0 if the timeline starts empty.
    pub commit_lsn: Lsn,
    /// Where the WAL on this safekeeper will begin; 0/0 if the first leader is to decide.
    pub local_start_lsn: Lsn,
}

impl Timelines {
    /// The timeline, created if this safekeeper does not have it.
    pub async fn get_or_create(&self, new: NewTimeline) -> Result<Arc<Timeline>, TimelineError> {
        match self.get(new.ttid) {
            Err(TimelineError::NotFound(_)) => {}
            found => return found,
        }
        let _exclusive = self.exclusive(new.ttid).await;
        match self.get(new.ttid) {
            Err(TimelineError::NotFound(_)) => {}
            found => return found,
        }
        if self.lock().tombstones.contains_key(&new.ttid) {
            return Err(TimelineError::Deleted(new.ttid));
        }
        check(&new)?;
        let state = blocking::run(|| self.create_on_disk(&new))?;
        let dir = self.timeline_dir(new.ttid);
        let timeline = Timeline::start(new.ttid, dir, self.node.clone(), state);
        self.lock().timelines.insert(new.ttid, timeline.clone());
        tracing::info!("created timeline {}", new.ttid);
        Ok(timeline)
    }

    fn create_on_disk(&self, new: &NewTimeline) -> Result<SharedState, TimelineError> {
        let durability = self.config().durability;
        let tenant_dir = self.tenant_dir(new.ttid.tenant_id);
        let dir = self.timeline_dir(new.ttid);
        if dir.exists() {
            return Err(TimelineError::NotLoaded(new.ttid));
        }
        fs::create_dir_all(&tenant_dir).map_err(TimelineError::io("create", &tenant_dir))?;
        sync_dir(self, &self.config().workdir)?;
        let temporary = tenant_dir.join(format!("{}{CREATING_SUFFIX}", new.ttid.timeline_id));
        remove_dir_if_exists(&temporary)?;
        fs::create_dir(&temporary).map_err(TimelineError::io("create", &temporary))?;
        let control_file =
            ControlFile::new(new.ttid, new.server, new.commit_lsn, new.local_start_lsn);
        FileControlStore::new(&temporary, durability)
            .persist(&control_file)
            .map_err(|source| TimelineError::ControlFile { ttid: new.ttid, source })?;
        fs::rename(&temporary, &dir).map_err(TimelineError::io("rename", &temporary))?;
        sync_dir(self, &tenant_dir)?;
        SharedState::open(&SegmentDir::new(dir, durability), control_file, self.config().id)
    }
}

fn check(new: &NewTimeline) -> Result<(), TimelineError> {
    let NewTimeline { ttid, server, commit_lsn, local_start_lsn } = *new;
    if server.wal_seg_size == 0 {
        return Err(TimelineError::ZeroSegmentSize(ttid));
    }
    if u64::from(server.wal_seg_size) != SEGMENT_SIZE {
        return Err(TimelineError::SegmentSize { ttid, found: server.wal_seg_size });
    }
    if server.pg_version == 0 {
        return Err(TimelineError::UnknownPgVersion(ttid));
    }
    PgMajor::from_version_num(server.pg_version)
        .map_err(|source| TimelineError::UnsupportedPgVersion { ttid, source })?;
    if commit_lsn < local_start_lsn {
        return Err(TimelineError::CommitBeforeStart { ttid, commit_lsn, local_start_lsn });
    }
    Ok(())
}

pub(super) fn remove_dir_if_exists(dir: &Utf8Path) -> Result<bool, TimelineError> {
    match fs::remove_dir_all(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(TimelineError::io("remove", dir)(error)),
    }
}

pub(super) fn sync_dir(timelines: &Timelines, dir: &Utf8Path) -> Result<(), TimelineError> {
    timelines.config().durability.sync_dir(dir).map_err(TimelineError::io("sync", dir))
}
