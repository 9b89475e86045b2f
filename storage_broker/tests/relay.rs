//! The broker over a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use storage_broker::client::{BrokerClient, connect};
use storage_broker::proto::subscribe_safekeeper_info_request::SubscriptionKey;
use storage_broker::proto::{
    FilterTenantTimelineId, MessageType, SafekeeperDiscoveryRequest, SafekeeperTimelineInfo,
    SubscribeByFilterRequest, SubscribeSafekeeperInfoRequest, TypeSubscription, TypedMessage,
};
use storage_broker::server::{self, ChannelSizes, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Streaming};
use utils::{TenantId, TenantTimelineId, TimelineId};

/// No wait in these tests lasts this long unless something is broken.
const DEADLINE: Duration = Duration::from_secs(30);

async fn start(channel_sizes: ChannelSizes) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ServerOptions { channel_sizes, http2_keepalive_interval: Duration::from_secs(5) };
    tokio::spawn(server::run(listener, options));
    address
}

fn client(address: SocketAddr) -> BrokerClient {
    connect(&format!("http://{address}"), Duration::from_secs(5), None).unwrap()
}

fn ttid(number: u8) -> TenantTimelineId {
    TenantTimelineId::new(TenantId::from_bytes([number; 16]), TimelineId::from_bytes([number; 16]))
}

fn info(ttid: TenantTimelineId, commit_lsn: u64) -> SafekeeperTimelineInfo {
    SafekeeperTimelineInfo {
        safekeeper_id: 1,
        tenant_timeline_id: Some(ttid.into()),
        commit_lsn,
        safekeeper_connstr: "127.0.0.1:5454".to_owned(),
        ..Default::default()
    }
}

fn info_message(ttid: TenantTimelineId, commit_lsn: u64) -> TypedMessage {
    TypedMessage {
        r#type: MessageType::SafekeeperTimelineInfo.into(),
        safekeeper_timeline_info: Some(info(ttid, commit_lsn)),
        ..Default::default()
    }
}

async fn subscribe_all(client: &mut BrokerClient) -> Streaming<SafekeeperTimelineInfo> {
    let request =
        SubscribeSafekeeperInfoRequest { subscription_key: Some(SubscriptionKey::All(())) };
    client.subscribe_safekeeper_info(request).await.unwrap().into_inner()
}

async fn subscribe_by_filter(
    client: &mut BrokerClient,
    types: &[MessageType],
    ttid: TenantTimelineId,
) -> Streaming<TypedMessage> {
    let request = SubscribeByFilterRequest {
        types: types.iter().map(|t| TypeSubscription { r#type: (*t).into() }).collect(),
        tenant_timeline_id: Some(FilterTenantTimelineId {
            enabled: true,
            tenant_timeline_id: Some(ttid.into()),
        }),
    };
    client.subscribe_by_filter(request).await.unwrap().into_inner()
}

async fn next<T>(stream: &mut Streaming<T>) -> T {
    let message = tokio::time::timeout(DEADLINE, stream.message()).await;
    message.expect("a message should have come").unwrap().expect("the stream should go on")
}

#[tokio::test]
async fn a_published_stream_reaches_its_subscribers_in_order() {
    let mut client = client(start(ChannelSizes::default()).await);
    let mut all = subscribe_all(&mut client).await;
    let mut one =
        subscribe_by_filter(&mut client, &[MessageType::SafekeeperTimelineInfo], ttid(2)).await;
    let sent = vec![info(ttid(1), 10), info(ttid(2), 20), info(ttid(2), 21)];
    client.publish_safekeeper_info(tokio_stream::iter(sent.clone())).await.unwrap();

    for expected in &sent {
        assert_eq!(&next(&mut all).await, expected);
    }
    assert_eq!(next(&mut one).await, info_message(ttid(2), 20));
    assert_eq!(next(&mut one).await, info_message(ttid(2), 21));
}

#[tokio::test]
async fn a_filter_delivers_only_the_wanted_types() {
    let mut client = client(start(ChannelSizes::default()).await);
    let wanted = MessageType::SafekeeperDiscoveryRequest;
    let mut requests = subscribe_by_filter(&mut client, &[wanted], ttid(1)).await;
    let discovery = TypedMessage {
        r#type: wanted.into(),
        safekeeper_discovery_request: Some(SafekeeperDiscoveryRequest {
            tenant_timeline_id: Some(ttid(1).into()),
        }),
        ..Default::default()
    };
    client.publish_one(info_message(ttid(1), 10)).await.unwrap();
    client.publish_one(discovery.clone()).await.unwrap();
    assert_eq!(next(&mut requests).await, discovery);
}

#[tokio::test]
async fn a_slow_subscriber_loses_messages_and_disturbs_nobody() {
    let address = start(ChannelSizes { timeline: 16, all_keys: 65536 }).await;
    let mut client_of_slow = client(address);
    let wanted = [MessageType::SafekeeperTimelineInfo];
    let mut slow = subscribe_by_filter(&mut client_of_slow, &wanted, ttid(1)).await;
    let mut quick_client = client(address);
    let mut quick = subscribe_all(&mut quick_client).await;

    // More than flow control lets the broker send to a subscriber that does not read.
    const MESSAGES: u64 = 40_000;
    let stream = tokio_stream::iter((1..=MESSAGES).map(|lsn| info(ttid(1), lsn)));
    let mut publisher = client(address);
    let publishing = tokio::spawn(async move { publisher.publish_safekeeper_info(stream).await });
    for lsn in 1..=MESSAGES {
        assert_eq!(next(&mut quick).await.commit_lsn, lsn);
    }
    publishing.await.unwrap().unwrap();

    let mut received = 0;
    let mut last = 0;
    while last < MESSAGES {
        let lsn = next(&mut slow).await.safekeeper_timeline_info.unwrap().commit_lsn;
        assert!(lsn > last, "{lsn} came after {last}");
        last = lsn;
        received += 1;
    }
    assert!(received < MESSAGES, "nothing was dropped");
}

#[tokio::test]
async fn malformed_requests_are_refused_and_others_served() {
    let mut client = client(start(ChannelSizes::default()).await);
    let mut all = subscribe_all(&mut client).await;

    let mut malformed = info(ttid(1), 1);
    malformed.tenant_timeline_id.as_mut().unwrap().tenant_id = vec![1, 2, 3].into();
    let status = client.publish_safekeeper_info(tokio_stream::iter([malformed])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("malformed tenant_id"), "{status}");

    let status = client.publish_one(TypedMessage::default()).await.unwrap_err();
    assert_eq!(status.message(), "invalid message type: 0");
    let request = SubscribeSafekeeperInfoRequest { subscription_key: None };
    let status = client.subscribe_safekeeper_info(request).await.unwrap_err();
    assert_eq!(status.message(), "missing subscription key");

    assert_eq!(next(&mut all).await.commit_lsn, 1);
    client.publish_one(info_message(ttid(2), 5)).await.unwrap();
    assert_eq!(next(&mut all).await.commit_lsn, 5);
}

#[tokio::test]
async fn garbage_on_the_port_ends_only_its_own_connection() {
    let address = start(ChannelSizes::default()).await;
    let mut client = client(address);
    let mut all = subscribe_all(&mut client).await;

    let mut http2_preface_and_garbage = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    http2_preface_and_garbage.extend([0xff; 64]);
    for garbage in [&[0u8; 1000][..], b"\xff\xfe\x00garbage\r\n\r\n", &http2_preface_and_garbage] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // Whether an answer or a reset ends the connection does not matter, but it ends.
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
        client.publish_one(info_message(ttid(1), 9)).await.unwrap();
        assert_eq!(next(&mut all).await.commit_lsn, 9);
    }
}

#[tokio::test]
async fn plain_http_shares_the_port() {
    let address = start(ChannelSizes::default()).await;
    let get = async |path: &str| {
        let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get("/status").await, (200, String::new()));
    assert_eq!(get("/nothing").await, (404, String::new()));

    let mut client = client(address);
    let _all = subscribe_all(&mut client).await;
    let (status, text) = get("/metrics").await;
    assert_eq!(status, 200);
    for name in [
        "storage_broker_active_publishers ",
        "storage_broker_per_timeline_active_subscribers ",
        "storage_broker_all_keys_active_subscribers ",
        "storage_broker_processed_messages_total ",
        "storage_broker_broadcasted_messages_total ",
        "storage_broker_broadcast_dropped_messages_total ",
        "storage_broker_published_oneoff_messages_total ",
    ] {
        assert!(text.contains(name), "{name} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn one_connection_carries_thousands_of_subscriptions() {
    let mut client = client(start(ChannelSizes::default()).await);
    let wanted = [MessageType::SafekeeperTimelineInfo];
    let mut streams = Vec::new();
    for number in 0..2000u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let ttid = TenantTimelineId::new(TenantId::from_bytes(id), TimelineId::from_bytes(id));
        let opening = subscribe_by_filter(&mut client, &wanted, ttid);
        let stream = tokio::time::timeout(DEADLINE, opening).await.expect("streams are limited");
        streams.push((ttid, stream));
    }
    let (last_ttid, last) = streams.last_mut().unwrap();
    client.publish_one(info_message(*last_ttid, 3)).await.unwrap();
    assert_eq!(next(last).await, info_message(*last_ttid, 3));
}
