use tonic::Code;
use utils::{TenantId, TenantTimelineId, TimelineId};

use super::*;
use crate::proto::FilterTenantTimelineId;

fn filter(enabled: bool, ttid: Option<TenantTimelineId>) -> SubscribeByFilterRequest {
    SubscribeByFilterRequest {
        types: Vec::new(),
        tenant_timeline_id: Some(FilterTenantTimelineId {
            enabled,
            tenant_timeline_id: ttid.map(Into::into),
        }),
    }
}

fn ttid() -> TenantTimelineId {
    TenantTimelineId::new(TenantId::generate(), TimelineId::generate())
}

#[test]
fn a_disabled_filter_behaves_as_none() {
    assert_eq!(filter_key(&filter(false, Some(ttid()))).unwrap(), SubscriptionKey::All);
    assert_eq!(filter_key(&filter(false, None)).unwrap(), SubscriptionKey::All);
    assert_eq!(filter_key(&SubscribeByFilterRequest::default()).unwrap(), SubscriptionKey::All);
}

#[test]
fn an_enabled_filter_needs_a_timeline() {
    let ttid = ttid();
    let key = filter_key(&filter(true, Some(ttid))).unwrap();
    assert_eq!(key, SubscriptionKey::Timeline(ttid));
    let status = filter_key(&filter(true, None)).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "missing tenant_timeline_id");
}
