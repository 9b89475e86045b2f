//! Repairing a control file by hand.

use safekeeper_api::models::{ControlFilePatch, ControlFilePatchResult};
use serde_json::Value;
use wal_quorum::control_file::ControlFile;

use super::{Timeline, TimelineError};
use crate::blocking;

/// Fields that say whose state this is and where its WAL is; other values would be lies.
const FIXED_FIELDS: [&str; 3] = ["tenant_id", "timeline_id", "eviction_state"];

/// Why a control file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The control file has no such field.
    #[error("cannot patch {0:?}: the control file has no such field")]
    UnknownField(String),
    /// The new value is not given.
    #[error("cannot patch {0:?}: it is in apply_fields but not in updates")]
    NoValue(String),
    /// The field cannot be changed.
    #[error("cannot patch {0:?}: this field is fixed")]
    Fixed(String),
    /// The values do not make a control file.
    #[error("the patched control file is not valid: {0}")]
    Invalid(#[from] serde_json::Error),
    /// The timeline cannot be used, or the file cannot be written.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
}

impl Timeline {
    /// Changes fields of the control file durably. Works on offloaded timelines too.
    pub async fn patch_control_file(
        &self,
        patch: &ControlFilePatch,
    ) -> Result<ControlFilePatchResult, PatchError> {
        let mut state = self.write().await;
        self.check_usable()?;
        let old = state.control().start_change();
        let new = patched(&old, patch)?;
        tracing::info!("patching the control file of timeline {}: {new:?}", self.ttid());
        let result = ControlFilePatchResult {
            old_control_file: serde_json::to_value(&old)?,
            new_control_file: serde_json::to_value(&new)?,
        };
        blocking::run(|| state.change(|file| *file = new))?;
        Ok(result)
    }
}

fn patched(file: &ControlFile, patch: &ControlFilePatch) -> Result<ControlFile, PatchError> {
    let mut document = serde_json::to_value(file)?;
    for field in &patch.apply_fields {
        if FIXED_FIELDS.contains(&field.as_str()) {
            return Err(PatchError::Fixed(field.clone()));
        }
        let new = patch.updates.get(field).ok_or_else(|| PatchError::NoValue(field.clone()))?;
        let place: Option<&mut Value> = document.get_mut(field);
        *place.ok_or_else(|| PatchError::UnknownField(field.clone()))? = new.clone();
    }
    Ok(serde_json::from_value(document)?)
}

#[cfg(test)]
mod tests;
