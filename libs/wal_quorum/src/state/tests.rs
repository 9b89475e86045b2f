//! The persistent part changes only through the store.

use super::*;
use crate::control_file::ServerInfo;
use utils::{TenantId, TenantTimelineId, TimelineId};

#[derive(Default)]
struct RecordingStore {
    persisted: Vec<ControlFile>,
    fail: bool,
}

impl ControlStore for RecordingStore {
    fn persist(&mut self, state: &ControlFile) -> Result<(), StorageError> {
        if self.fail {
            return Err("disk is full".into());
        }
        self.persisted.push(state.clone());
        Ok(())
    }
}

fn empty_file() -> ControlFile {
    let ttid = TenantTimelineId::new(TenantId::default(), TimelineId::default());
    let server = ServerInfo { pg_version: 150013, system_id: 0, wal_seg_size: 16 << 20 };
    ControlFile::new(ttid, server, Lsn::INVALID, Lsn::INVALID)
}

#[test]
fn creating_a_state_persists_it() {
    let state = TimelineState::create(RecordingStore::default(), empty_file()).unwrap();
    assert_eq!(state.store().persisted, [empty_file()]);
}

#[test]
fn an_unchanged_state_is_not_written_again() {
    let mut state = TimelineState::loaded(RecordingStore::default(), empty_file());
    state.flush().unwrap();
    assert!(!state.is_dirty());
    assert!(state.store().persisted.is_empty());
}

#[test]
fn a_change_carries_the_overlay_along() {
    let mut state = TimelineState::loaded(RecordingStore::default(), empty_file());
    state.memory.commit_lsn = Lsn(100);
    assert!(state.is_dirty());
    let mut changed = state.start_change();
    changed.acceptor_state.term = 7;
    state.finish_change(changed).unwrap();
    assert_eq!((state.commit_lsn, state.acceptor_state.term), (Lsn(100), 7));
    assert!(!state.is_dirty());
}

#[test]
fn a_failed_write_leaves_both_parts_as_they_were() {
    let store = RecordingStore { fail: true, ..Default::default() };
    let mut state = TimelineState::loaded(store, empty_file());
    state.memory.commit_lsn = Lsn(100);
    let mut changed = state.start_change();
    changed.acceptor_state.term = 7;
    assert!(state.finish_change(changed).is_err());
    assert_eq!(state.acceptor_state.term, 0);
    assert_eq!((state.commit_lsn, state.memory.commit_lsn), (Lsn::INVALID, Lsn(100)));
}
