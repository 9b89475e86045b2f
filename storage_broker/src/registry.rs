//! Who publishes and who subscribes, and the channels between them.
//!
//! There is one channel for all messages, and one per timeline that somebody subscribes to.
//! Channels are ring buffers: a send never blocks and overwrites the oldest message, each
//! subscriber has its own position. Publishing takes only the read lock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::broadcast;
use tonic::Status;
use utils::TenantTimelineId;

use crate::message::Message;
use crate::metrics;

/// How many messages channels hold for subscribers that lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelSizes {
    /// Of a timeline's channel, which sees about three messages a second.
    pub timeline: usize,
    /// Of the channel that sees all messages of all timelines.
    pub all_keys: usize,
}

impl Default for ChannelSizes {
    fn default() -> Self {
        ChannelSizes { timeline: 32, all_keys: 16384 }
    }
}

/// What a subscription is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscriptionKey {
    All,
    Timeline(TenantTimelineId),
}

impl fmt::Display for SubscriptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubscriptionKey::All => f.write_str("all"),
            SubscriptionKey::Timeline(ttid) => ttid.fmt(f),
        }
    }
}

/// The broker's state. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    state: Arc<RwLock<State>>,
    timeline_channel_size: usize,
}

#[derive(Debug)]
struct State {
    /// For logs only; never reused.
    next_publisher_id: u64,
    next_subscriber_id: u64,
    all_keys: broadcast::Sender<Message>,
    timelines: HashMap<TenantTimelineId, TimelineChannel>,
}

#[derive(Debug)]
struct TimelineChannel {
    sender: broadcast::Sender<Message>,
    /// Counted here because receivers are dropped a little after they are unregistered.
    subscribers: usize,
}

impl Registry {
    pub(crate) fn new(sizes: ChannelSizes) -> Self {
        Registry {
            state: Arc::new(RwLock::new(State {
                next_publisher_id: 0,
                next_subscriber_id: 0,
                all_keys: broadcast::Sender::new(sizes.all_keys),
                timelines: HashMap::new(),
            })),
            timeline_channel_size: sizes.timeline,
        }
    }

    /// Registers a publisher until the returned value is dropped.
    pub(crate) fn register_publisher(&self, peer: SocketAddr) -> Publisher {
        let mut state = self.write();
        let id = state.next_publisher_id;
        state.next_publisher_id += 1;
        drop(state);
        metrics::ACTIVE_PUBLISHERS.inc();
        tracing::info!("publication started id={id} addr={peer}");
        Publisher { registry: self.clone(), id, peer }
    }

    /// Registers a subscriber until the returned value is dropped. It sees what is published
    /// from now on.
    pub(crate) fn register_subscriber(&self, key: SubscriptionKey, peer: SocketAddr) -> Subscriber {
        let mut state = self.write();
        let id = state.next_subscriber_id;
        state.next_subscriber_id += 1;
        let receiver = match key {
            SubscriptionKey::All => {
                metrics::ALL_KEYS_SUBSCRIBERS.inc();
                state.all_keys.subscribe()
            }
            SubscriptionKey::Timeline(ttid) => {
                metrics::TIMELINE_SUBSCRIBERS.inc();
                let channel = state.timelines.entry(ttid).or_insert_with(|| TimelineChannel {
                    sender: broadcast::Sender::new(self.timeline_channel_size),
                    subscribers: 0,
                });
                channel.subscribers += 1;
                channel.sender.subscribe()
            }
        };
        drop(state);
        tracing::info!("subscription started id={id}, key={key}, addr={peer}");
        let registration = Registration { registry: self.clone(), id, key, peer };
        Subscriber { receiver, registration }
    }

    /// Hands a message to the subscribers. A malformed timeline id is reported after the
    /// subscribers to everything have got the message.
    pub(crate) fn publish(&self, message: Message) -> Result<(), Status> {
        metrics::PROCESSED.inc();
        let state = self.read();
        // Sending fails when there is no receiver, which is fine.
        let _ = state.all_keys.send(message.clone());
        if let Some(ttid) = message.ttid()?
            && let Some(channel) = state.timelines.get(&ttid)
        {
            let _ = channel.sender.send(message);
        }
        Ok(())
    }

    fn unregister_subscriber(&self, key: SubscriptionKey) {
        match key {
            SubscriptionKey::All => metrics::ALL_KEYS_SUBSCRIBERS.dec(),
            SubscriptionKey::Timeline(ttid) => {
                metrics::TIMELINE_SUBSCRIBERS.dec();
                if let Entry::Occupied(mut channel) = self.write().timelines.entry(ttid) {
                    channel.get_mut().subscribers -= 1;
                    if channel.get().subscribers == 0 {
                        channel.remove();
                    }
                }
            }
        }
    }

    // The state is consistent between any two statements that change it, so a panic
    // elsewhere does not spoil it.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that publishes a stream of messages.
pub(crate) struct Publisher {
    registry: Registry,
    id: u64,
    peer: SocketAddr,
}

impl Publisher {
    pub(crate) fn publish(&self, message: Message) -> Result<(), Status> {
        self.registry.publish(message)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        metrics::ACTIVE_PUBLISHERS.dec();
        tracing::info!("publication ended id={} addr={}", self.id, self.peer);
    }
}

/// A client that subscribes.
pub(crate) struct Subscriber {
    pub(crate) receiver: broadcast::Receiver<Message>,
    pub(crate) registration: Registration,
}

/// The registry's knowledge of a subscriber; dropping it makes the registry forget.
pub(crate) struct Registration {
    registry: Registry,
    pub(crate) id: u64,
    pub(crate) key: SubscriptionKey,
    pub(crate) peer: SocketAddr,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.unregister_subscriber(self.key);
        let Registration { id, key, peer, .. } = self;
        tracing::info!("subscription ended id={id}, key={key}, addr={peer}");
    }
}

#[cfg(test)]
mod tests;
