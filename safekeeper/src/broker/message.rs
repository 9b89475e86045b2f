//! Between broker messages and our own shape of them.

use safekeeper_api::models::SafekeeperTimelineInfo;
use storage_broker::proto;
use utils::{Lsn, NodeId, TenantTimelineId};

/// What a peer told. Absent strings and terms become "not known".
pub(super) fn from_proto(
    message: proto::SafekeeperTimelineInfo,
) -> (NodeId, SafekeeperTimelineInfo) {
    let info = SafekeeperTimelineInfo {
        term: Some(message.term),
        last_log_term: Some(message.last_log_term),
        flush_lsn: Lsn(message.flush_lsn),
        commit_lsn: Lsn(message.commit_lsn),
        backup_lsn: Lsn(message.backup_lsn),
        remote_consistent_lsn: Lsn(message.remote_consistent_lsn),
        peer_horizon_lsn: Lsn(message.peer_horizon_lsn),
        local_start_lsn: Lsn(message.local_start_lsn),
        safekeeper_connstr: Some(message.safekeeper_connstr),
        http_connstr: Some(message.http_connstr),
        standby_horizon: Lsn(message.standby_horizon),
    };
    (NodeId(message.safekeeper_id), info)
}

/// What this safekeeper tells.
pub(super) fn to_proto(
    id: NodeId,
    ttid: TenantTimelineId,
    info: SafekeeperTimelineInfo,
    availability_zone: Option<String>,
) -> proto::SafekeeperTimelineInfo {
    proto::SafekeeperTimelineInfo {
        safekeeper_id: id.0,
        tenant_timeline_id: Some(ttid.into()),
        term: info.term.unwrap_or_default(),
        last_log_term: info.last_log_term.unwrap_or_default(),
        flush_lsn: info.flush_lsn.0,
        commit_lsn: info.commit_lsn.0,
        backup_lsn: info.backup_lsn.0,
        remote_consistent_lsn: info.remote_consistent_lsn.0,
        peer_horizon_lsn: info.peer_horizon_lsn.0,
        local_start_lsn: info.local_start_lsn.0,
        standby_horizon: info.standby_horizon.0,
        safekeeper_connstr: info.safekeeper_connstr.unwrap_or_default(),
        http_connstr: info.http_connstr.unwrap_or_default(),
        availability_zone,
        https_connstr: None,
    }
}

#[cfg(test)]
mod tests {
    use utils::{TenantId, TimelineId};

    use super::*;

    #[test]
    fn what_is_told_is_what_is_understood() {
        let info = SafekeeperTimelineInfo {
            term: Some(1),
            last_log_term: Some(2),
            flush_lsn: Lsn(3),
            commit_lsn: Lsn(4),
            backup_lsn: Lsn(5),
            remote_consistent_lsn: Lsn(6),
            peer_horizon_lsn: Lsn(7),
            local_start_lsn: Lsn(8),
            safekeeper_connstr: Some("a:1".into()),
            http_connstr: Some("a:2".into()),
            standby_horizon: Lsn(9),
        };
        let ttid = TenantTimelineId::new(TenantId::generate(), TimelineId::generate());
        let message = to_proto(NodeId(3), ttid, info.clone(), Some("az".into()));
        let (id, understood) = from_proto(message);
        assert_eq!(id, NodeId(3));
        assert_eq!(serde_json::to_value(understood).unwrap(), serde_json::to_value(info).unwrap());
    }
}
