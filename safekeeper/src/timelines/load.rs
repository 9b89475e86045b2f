//! Loading timelines from disk at start.
//!
//! A timeline that cannot be loaded is reported and left alone: it is neither served nor
//! recreated until an operator has looked at it.

use std::fs;
use std::io::ErrorKind;
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};
use utils::{TenantId, TenantTimelineId, TimelineId};

use super::Timelines;
use super::create::{CREATING_SUFFIX, remove_dir_if_exists};
use crate::control_store::{self, CONTROL_FILE_NAME};
use crate::timeline::state::SharedState;
use crate::timeline::{Timeline, TimelineError};
use crate::wal_storage::SegmentDir;

impl Timelines {
    /// Loads everything the data directory holds. Blocks; must run within the async runtime,
    /// because every timeline gets its manager. Fails only if directories cannot be listed.
    pub fn load_all(&self) -> Result<(), TimelineError> {
        for (tenant_dir, tenant) in subdirectories(&self.config().workdir)? {
            let Ok(tenant_id) = TenantId::from_str(&tenant) else { continue };
            for (dir, name) in subdirectories(&tenant_dir)? {
                if name.ends_with(CREATING_SUFFIX) {
                    tracing::info!("removing {dir}, the leftover of an interrupted creation");
                    remove_dir_if_exists(&dir)?;
                }
                let Ok(timeline_id) = TimelineId::from_str(&name) else { continue };
                let ttid = TenantTimelineId::new(tenant_id, timeline_id);
                if let Err(error) = self.load_one(ttid, dir) {
                    tracing::error!("failed to load timeline {ttid}: {error}");
                }
            }
        }
        Ok(())
    }

    pub(super) fn load_one(
        &self,
        ttid: TenantTimelineId,
        dir: Utf8PathBuf,
    ) -> Result<(), TimelineError> {
        let control_file = control_store::read(&dir.join(CONTROL_FILE_NAME))?;
        if control_file.ttid() != ttid {
            return Err(TimelineError::ForeignControlFile { dir, found: control_file.ttid() });
        }
        let segments = SegmentDir::new(&dir, self.config().durability);
        let state = SharedState::open(&segments, control_file, self.config().id)?;
        let timeline = Timeline::start(ttid, dir, self.node.clone(), state);
        self.lock().timelines.insert(ttid, timeline);
        Ok(())
    }
}

/// Path and name of every directory in `dir`; names that are not UTF-8 cannot be ours.
fn subdirectories(dir: &Utf8Path) -> Result<Vec<(Utf8PathBuf, String)>, TimelineError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(TimelineError::io("list", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(TimelineError::io("list", dir))?;
        let is_dir = entry.file_type().map_err(TimelineError::io("inspect", dir))?.is_dir();
        if let (true, Ok(name)) = (is_dir, entry.file_name().into_string()) {
            found.push((dir.join(&name), name));
        }
    }
    Ok(found)
}
