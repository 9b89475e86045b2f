use serde_json::json;
use utils::{Lsn, TenantId, TenantTimelineId, TimelineId};
use wal_quorum::control_file::ServerInfo;

use super::*;

fn file() -> ControlFile {
    let ttid = TenantTimelineId::new(TenantId::generate(), TimelineId::generate());
    let server = ServerInfo { pg_version: 150_018, system_id: 1, wal_seg_size: 16 << 20 };
    ControlFile::new(ttid, server, Lsn(0x100_0028), Lsn(0x100_0000))
}

fn patch(updates: Value, fields: &[&str]) -> Result<ControlFile, PatchError> {
    let updates = updates.as_object().unwrap().clone();
    let apply_fields = fields.iter().map(|field| (*field).to_owned()).collect();
    patched(&file(), &ControlFilePatch { updates, apply_fields })
}

#[test]
fn only_named_fields_are_changed() {
    let updates = json!({"timeline_start_lsn": "0/1", "commit_lsn": "0/2"});
    let new = patch(updates, &["timeline_start_lsn"]).unwrap();
    assert_eq!((new.timeline_start_lsn, new.commit_lsn), (Lsn(1), Lsn(0x100_0028)));
}

#[test]
fn nonsense_is_refused_by_name() {
    let refused = |updates, field| patch(updates, &[field]).unwrap_err().to_string();
    assert!(refused(json!({}), "commit_lsn").contains("not in updates"));
    assert!(refused(json!({"colour": "red"}), "colour").contains("no such field"));
    assert!(refused(json!({"commit_lsn": 7}), "commit_lsn").contains("not valid"));
    for field in FIXED_FIELDS {
        assert!(refused(json!({field: null}), field).contains("is fixed"));
    }
}
