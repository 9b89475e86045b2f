//! A timeline under construction from what others have: pulled from another safekeeper or
//! copied from another timeline.
//!
//! It is put together in a directory beside the future one, on the same file system. Only when
//! it is whole and has been opened successfully does it get its name.

use std::fs;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use utils::{TenantTimelineId, TimelineId};

use super::Timelines;
use super::create::{CREATING_SUFFIX, remove_dir_if_exists, sync_dir};
use crate::blocking;
use crate::control_store::{self, CONTROL_FILE_NAME};
use crate::timeline::state::SharedState;
use crate::timeline::{Timeline, TimelineError};
use crate::wal_storage::SegmentDir;

/// The directory; dropping it before it is installed removes it.
#[derive(Debug)]
pub(super) struct Construction {
    ttid: TenantTimelineId,
    dir: Utf8PathBuf,
}

impl Construction {
    pub(super) fn dir(&self) -> &Utf8Path {
        &self.dir
    }
}

impl Drop for Construction {
    fn drop(&mut self) {
        if let Err(error) = remove_dir_if_exists(&self.dir) {
            tracing::warn!("cannot remove an unfinished timeline: {error}");
        }
    }
}

impl Timelines {
    /// Whether the timeline is here, loaded or not.
    pub(super) fn exists(&self, ttid: TenantTimelineId) -> bool {
        self.lock().timelines.contains_key(&ttid) || self.timeline_dir(ttid).exists()
    }

    /// An empty directory to build `ttid` in.
    pub(super) fn begin_construction(
        &self,
        ttid: TenantTimelineId,
    ) -> Result<Construction, TimelineError> {
        let tenant_dir = self.tenant_dir(ttid.tenant_id);
        // Several may be under construction at once; the first to be ready wins.
        let random = TimelineId::generate();
        let dir = tenant_dir.join(format!("{}.{random}{CREATING_SUFFIX}", ttid.timeline_id));
        blocking::run(|| fs::create_dir_all(&dir)).map_err(TimelineError::io("create", &dir))?;
        Ok(Construction { ttid, dir })
    }

    /// Checks what was built, gives it its name and loads it.
    pub(super) async fn install(
        &self,
        construction: Construction,
    ) -> Result<Arc<Timeline>, TimelineError> {
        let ttid = construction.ttid;
        blocking::run(|| self.check_construction(&construction))?;
        let _exclusive = self.exclusive(ttid).await;
        if self.exists(ttid) {
            return Err(TimelineError::Exists(ttid));
        }
        blocking::run(|| self.rename_construction(&construction))?;
        if self.lock().tombstones.remove(&ttid).is_some() {
            tracing::warn!("Un-deleted timeline {ttid}");
        }
        blocking::run(|| self.load_one(ttid, self.timeline_dir(ttid)))?;
        self.get(ttid)
    }

    fn check_construction(&self, construction: &Construction) -> Result<(), TimelineError> {
        let Construction { ttid, dir } = construction;
        let file = control_store::read(&dir.join(CONTROL_FILE_NAME))?;
        if file.ttid() != *ttid {
            return Err(TimelineError::ForeignControlFile { dir: dir.clone(), found: file.ttid() });
        }
        if file.server.wal_seg_size == 0 {
            return Err(TimelineError::ZeroSegmentSize(*ttid));
        }
        let segments = SegmentDir::new(dir, self.config().durability);
        SharedState::open(&segments, file, self.config().id)?;
        self.config().durability.sync_dir(dir).map_err(TimelineError::io("sync", dir))
    }

    fn rename_construction(&self, construction: &Construction) -> Result<(), TimelineError> {
        let Construction { ttid, dir } = construction;
        fs::rename(dir, self.timeline_dir(*ttid)).map_err(TimelineError::io("rename", dir))?;
        sync_dir(self, &self.tenant_dir(ttid.tenant_id))?;
        sync_dir(self, &self.config().workdir)
    }
}
