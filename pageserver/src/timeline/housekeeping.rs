//! What keeps an idle timeline moving: the roll rules are applied although nobody writes.

use std::sync::Arc;

use super::Timeline;

impl Timeline {
    /// Applies the roll rules if no writer is at work; a busy writer applies them itself.
    /// Called at intervals for every active timeline.
    pub fn ingest_housekeeping(self: &Arc<Self>) {
        if !self.is_active() {
            return;
        }
        self.ensure_flush_loop();
        if let Some(mut writer) = self.try_writer() {
            writer.roll_idle();
        }
    }
}
