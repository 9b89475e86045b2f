//! The gRPC methods.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use crate::ids::parse_ttid;
use crate::message::Message;
use crate::metrics;
use crate::proto::broker_service_server::BrokerService;
use crate::proto::subscribe_safekeeper_info_request::SubscriptionKey as WireKey;
use crate::proto::{
    MessageType, SafekeeperTimelineInfo, SubscribeByFilterRequest, SubscribeSafekeeperInfoRequest,
    TypedMessage,
};
use crate::registry::{Registry, SubscriptionKey};
use crate::subscription::{Count, ResponseStream, response_stream};

#[derive(Clone)]
pub(crate) struct Broker {
    registry: Registry,
}

impl Broker {
    pub(crate) fn new(registry: Registry) -> Self {
        Broker { registry }
    }
}

#[tonic::async_trait]
impl BrokerService for Broker {
    type SubscribeSafekeeperInfoStream = ResponseStream<SafekeeperTimelineInfo>;
    type SubscribeByFilterStream = ResponseStream<TypedMessage>;

    async fn publish_safekeeper_info(
        &self,
        request: Request<Streaming<SafekeeperTimelineInfo>>,
    ) -> Result<Response<()>, Status> {
        let publisher = self.registry.register_publisher(peer_of(&request)?);
        let mut messages = request.into_inner();
        while let Some(info) = messages.message().await? {
            publisher.publish(Message::from(info))?;
        }
        Ok(Response::new(()))
    }

    async fn publish_one(&self, request: Request<TypedMessage>) -> Result<Response<()>, Status> {
        let message = Message::from_wire(request.into_inner())?;
        metrics::PUBLISHED_ONEOFF.inc();
        self.registry.publish(message)?;
        Ok(Response::new(()))
    }

    async fn subscribe_safekeeper_info(
        &self,
        request: Request<SubscribeSafekeeperInfoRequest>,
    ) -> Result<Response<Self::SubscribeSafekeeperInfoStream>, Status> {
        let peer = peer_of(&request)?;
        let key = match request.into_inner().subscription_key {
            Some(WireKey::All(())) => SubscriptionKey::All,
            Some(WireKey::TenantTimelineId(ttid)) => SubscriptionKey::Timeline(parse_ttid(&ttid)?),
            None => return Err(Status::invalid_argument("missing subscription key")),
        };
        let subscriber = self.registry.register_subscriber(key, peer);
        let infos = |message| match message {
            Message::TimelineInfo(info) => Some(Arc::unwrap_or_clone(info)),
            Message::DiscoveryRequest(_) | Message::DiscoveryResponse(_) => None,
        };
        Ok(Response::new(response_stream(subscriber, Count::Taken, infos)))
    }

    async fn subscribe_by_filter(
        &self,
        request: Request<SubscribeByFilterRequest>,
    ) -> Result<Response<Self::SubscribeByFilterStream>, Status> {
        let peer = peer_of(&request)?;
        let request = request.into_inner();
        let key = filter_key(&request)?;
        let wanted: Vec<MessageType> = request.types.iter().map(|wanted| wanted.r#type()).collect();
        let subscriber = self.registry.register_subscriber(key, peer);
        let select = move |message: Message| {
            wanted.contains(&message.message_type()).then(|| message.into_wire())
        };
        Ok(Response::new(response_stream(subscriber, Count::Delivered, select)))
    }
}

/// The key a filter asks for: a filter that is not enabled is as good as none.
fn filter_key(request: &SubscribeByFilterRequest) -> Result<SubscriptionKey, Status> {
    match request.tenant_timeline_id.as_ref().filter(|filter| filter.enabled) {
        None => Ok(SubscriptionKey::All),
        Some(filter) => {
            let wire = filter.tenant_timeline_id.as_ref();
            let wire =
                wire.ok_or_else(|| Status::invalid_argument("missing tenant_timeline_id"))?;
            Ok(SubscriptionKey::Timeline(parse_ttid(wire)?))
        }
    }
}

fn peer_of<T>(request: &Request<T>) -> Result<SocketAddr, Status> {
    request.remote_addr().ok_or_else(|| Status::internal("the peer's address is not known"))
}

#[cfg(test)]
mod tests;
