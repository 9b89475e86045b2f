//! Between ids on the wire (raw bytes) and typed ids.

use bytes::Bytes;
use tonic::Status;
use utils::{TenantId, TenantTimelineId, TimelineId};

use crate::proto;

/// Reads the two ids; INVALID_ARGUMENT when one is not 16 bytes.
pub fn parse_ttid(wire: &proto::TenantTimelineId) -> Result<TenantTimelineId, Status> {
    let malformed = |what: &str, bytes: &Bytes| {
        Status::invalid_argument(format!("malformed {what}: {} bytes instead of 16", bytes.len()))
    };
    let tenant_id = TenantId::from_slice(&wire.tenant_id)
        .ok_or_else(|| malformed("tenant_id", &wire.tenant_id))?;
    let timeline_id = TimelineId::from_slice(&wire.timeline_id)
        .ok_or_else(|| malformed("timeline_id", &wire.timeline_id))?;
    Ok(TenantTimelineId::new(tenant_id, timeline_id))
}

impl From<TenantTimelineId> for proto::TenantTimelineId {
    fn from(ttid: TenantTimelineId) -> Self {
        proto::TenantTimelineId {
            tenant_id: Bytes::copy_from_slice(ttid.tenant_id.as_bytes()),
            timeline_id: Bytes::copy_from_slice(ttid.timeline_id.as_bytes()),
        }
    }
}
