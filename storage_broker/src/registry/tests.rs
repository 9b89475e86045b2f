use tokio::sync::broadcast::error::TryRecvError;
use tonic::Code;
use utils::{TenantId, TimelineId};

use super::*;
use crate::proto::{self, SafekeeperTimelineInfo};

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

fn ttid(number: u8) -> TenantTimelineId {
    TenantTimelineId::new(TenantId::from_bytes([number; 16]), TimelineId::from_bytes([number; 16]))
}

fn info(ttid: impl Into<proto::TenantTimelineId>, commit_lsn: u64) -> Message {
    Message::from(SafekeeperTimelineInfo {
        tenant_timeline_id: Some(ttid.into()),
        commit_lsn,
        ..Default::default()
    })
}

#[test]
fn subscribers_get_what_they_asked_for() {
    let registry = Registry::new(ChannelSizes::default());
    let mut one = registry.register_subscriber(SubscriptionKey::Timeline(ttid(1)), PEER);
    let mut all = registry.register_subscriber(SubscriptionKey::All, PEER);
    let publisher = registry.register_publisher(PEER);
    publisher.publish(info(ttid(1), 10)).unwrap();
    publisher.publish(info(ttid(2), 20)).unwrap();

    assert_eq!(one.receiver.try_recv(), Ok(info(ttid(1), 10)));
    assert_eq!(one.receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(all.receiver.try_recv(), Ok(info(ttid(1), 10)));
    assert_eq!(all.receiver.try_recv(), Ok(info(ttid(2), 20)));
    assert_eq!(all.receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_lagging_subscriber_skips_the_oldest_messages() {
    let registry = Registry::new(ChannelSizes { timeline: 16, all_keys: 16 });
    let mut subscriber = registry.register_subscriber(SubscriptionKey::All, PEER);
    for commit_lsn in 0..20 {
        registry.publish(info(ttid(1), commit_lsn)).unwrap();
    }
    assert_eq!(subscriber.receiver.try_recv(), Err(TryRecvError::Lagged(4)));
    for commit_lsn in 4..20 {
        assert_eq!(subscriber.receiver.try_recv(), Ok(info(ttid(1), commit_lsn)));
    }
    assert_eq!(subscriber.receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_timelines_channel_goes_with_its_last_subscriber() {
    let registry = Registry::new(ChannelSizes::default());
    let key = SubscriptionKey::Timeline(ttid(1));
    let first = registry.register_subscriber(key, PEER);
    let second = registry.register_subscriber(key, PEER);
    drop(first);
    assert_eq!(registry.read().timelines.len(), 1);
    drop(second);
    assert!(registry.read().timelines.is_empty());
}

#[test]
fn subscribers_to_everything_get_messages_with_malformed_ids_too() {
    let registry = Registry::new(ChannelSizes::default());
    let mut all = registry.register_subscriber(SubscriptionKey::All, PEER);
    let malformed =
        proto::TenantTimelineId { tenant_id: vec![1; 3].into(), timeline_id: vec![1; 16].into() };
    let status = registry.publish(info(malformed, 1)).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(all.receiver.try_recv().is_ok());
}

#[test]
fn a_message_without_a_timeline_reaches_only_subscribers_to_everything() {
    let registry = Registry::new(ChannelSizes::default());
    let mut one = registry.register_subscriber(SubscriptionKey::Timeline(ttid(1)), PEER);
    let mut all = registry.register_subscriber(SubscriptionKey::All, PEER);
    registry.publish(Message::from(SafekeeperTimelineInfo::default())).unwrap();
    assert!(all.receiver.try_recv().is_ok());
    assert_eq!(one.receiver.try_recv(), Err(TryRecvError::Empty));
}
