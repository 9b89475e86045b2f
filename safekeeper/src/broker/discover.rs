//! Answering pageservers that look for a timeline's WAL, active or not.

use std::sync::Arc;

use storage_broker::client::BrokerClient;
use storage_broker::ids::parse_ttid;
use storage_broker::proto::{
    MessageType, SafekeeperDiscoveryResponse, SubscribeByFilterRequest, TypeSubscription,
    TypedMessage,
};
use tokio_stream::StreamExt;

use super::BrokerError;
use crate::metrics::BROKER_PULLED_UPDATES;
use crate::timelines::Timelines;

const CALL: &str = "SubscribeByFilter";

pub(super) async fn run(
    timelines: Arc<Timelines>,
    mut client: BrokerClient,
) -> Result<(), BrokerError> {
    let request = SubscribeByFilterRequest {
        types: vec![TypeSubscription { r#type: MessageType::SafekeeperDiscoveryRequest.into() }],
        tenant_timeline_id: None,
    };
    let subscription =
        client.subscribe_by_filter(request).await.map_err(BrokerError::call(CALL))?;
    let mut messages = subscription.into_inner();
    while let Some(message) = messages.next().await {
        let message = message.map_err(BrokerError::call(CALL))?;
        // Only what was subscribed to arrives; anything else is for somebody else.
        let Some(request) = message.safekeeper_discovery_request else { continue };
        let wire = request.tenant_timeline_id.ok_or(BrokerError::NoTimeline)?;
        let ttid = parse_ttid(&wire).map_err(BrokerError::call(CALL))?;
        let Ok(timeline) = timelines.get(ttid) else { continue };
        BROKER_PULLED_UPDATES.with_label_values(&["discover"]).inc();
        let config = timelines.config();
        let response = SafekeeperDiscoveryResponse {
            safekeeper_id: config.id.0,
            tenant_timeline_id: Some(ttid.into()),
            commit_lsn: timeline.read().await.commit_lsn().0,
            safekeeper_connstr: config.advertise_pg.clone(),
            availability_zone: config.availability_zone.clone(),
            standby_horizon: 0,
        };
        let answer = TypedMessage {
            r#type: MessageType::SafekeeperDiscoveryResponse.into(),
            safekeeper_timeline_info: None,
            safekeeper_discovery_request: None,
            safekeeper_discovery_response: Some(response),
        };
        client.publish_one(answer).await.map_err(BrokerError::call("PublishOne"))?;
    }
    Err(BrokerError::Closed(CALL))
}
