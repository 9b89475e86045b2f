//! Messages as they travel inside the broker: one type that carries exactly one content.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use tonic::Status;
use utils::TenantTimelineId;

use crate::ids::parse_ttid;
use crate::proto::{
    MessageType, SafekeeperDiscoveryRequest, SafekeeperDiscoveryResponse, SafekeeperTimelineInfo,
    TypedMessage,
};

/// A published message. Cheap to clone: it is copied once per channel and subscriber.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    TimelineInfo(Arc<SafekeeperTimelineInfo>),
    DiscoveryRequest(Arc<SafekeeperDiscoveryRequest>),
    DiscoveryResponse(Arc<SafekeeperDiscoveryResponse>),
}

impl Message {
    /// Takes the content that the message's type names.
    pub(crate) fn from_wire(wire: TypedMessage) -> Result<Message, Status> {
        let missing = |field: &str| Status::invalid_argument(format!("missing {field}"));
        match wire.r#type() {
            // The generated accessor maps numbers it does not know to this as well.
            MessageType::Unknown => {
                Err(Status::invalid_argument(format!("invalid message type: {}", wire.r#type)))
            }
            MessageType::SafekeeperTimelineInfo => wire
                .safekeeper_timeline_info
                .map(Message::from)
                .ok_or_else(|| missing("safekeeper_timeline_info")),
            MessageType::SafekeeperDiscoveryRequest => wire
                .safekeeper_discovery_request
                .map(|content| Message::DiscoveryRequest(Arc::new(content)))
                .ok_or_else(|| missing("safekeeper_discovery_request")),
            MessageType::SafekeeperDiscoveryResponse => wire
                .safekeeper_discovery_response
                .map(|content| Message::DiscoveryResponse(Arc::new(content)))
                .ok_or_else(|| missing("safekeeper_discovery_response")),
        }
    }

    pub(crate) fn into_wire(self) -> TypedMessage {
        let mut wire = TypedMessage { r#type: self.message_type().into(), ..Default::default() };
        match self {
            Message::TimelineInfo(content) => {
                wire.safekeeper_timeline_info = Some(Arc::unwrap_or_clone(content));
            }
            Message::DiscoveryRequest(content) => {
                wire.safekeeper_discovery_request = Some(Arc::unwrap_or_clone(content));
            }
            Message::DiscoveryResponse(content) => {
                wire.safekeeper_discovery_response = Some(Arc::unwrap_or_clone(content));
            }
        }
        wire
    }

    pub(crate) fn message_type(&self) -> MessageType {
        match self {
            Message::TimelineInfo(_) => MessageType::SafekeeperTimelineInfo,
            Message::DiscoveryRequest(_) => MessageType::SafekeeperDiscoveryRequest,
            Message::DiscoveryResponse(_) => MessageType::SafekeeperDiscoveryResponse,
        }
    }

    /// The timeline the message is about; a message need not name one.
    pub(crate) fn ttid(&self) -> Result<Option<TenantTimelineId>, Status> {
        let wire = match self {
            Message::TimelineInfo(content) => &content.tenant_timeline_id,
            Message::DiscoveryRequest(content) => &content.tenant_timeline_id,
            Message::DiscoveryResponse(content) => &content.tenant_timeline_id,
        };
        wire.as_ref().map(parse_ttid).transpose()
    }
}

impl From<SafekeeperTimelineInfo> for Message {
    fn from(content: SafekeeperTimelineInfo) -> Self {
        Message::TimelineInfo(Arc::new(content))
    }
}

#[cfg(test)]
mod tests;
