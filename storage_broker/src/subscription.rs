//! The response stream of a subscription: takes messages from the channel, drops those that
//! are not wanted, and reports what a slow subscriber missed.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use crate::message::Message;
use crate::metrics;
use crate::registry::{Registration, Subscriber};

/// A subscription warns about what it missed at most this often.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// What a subscriber's response consists of.
pub(crate) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Which messages are counted as broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Taken,
    Delivered,
}

/// Delivers the messages for which `select` returns something. Ends with the channel, which
/// lives as long as the subscriber; dropping the stream unregisters the subscriber.
pub(crate) fn response_stream<T: Send + 'static>(
    subscriber: Subscriber,
    count: Count,
    select: impl Fn(Message) -> Option<T> + Send + 'static,
) -> ResponseStream<T> {
    let state = (subscriber, MissedReport::default(), select);
    Box::pin(stream::unfold(state, move |(mut subscriber, mut missed, select)| async move {
        loop {
            match subscriber.receiver.recv().await {
                Ok(message) => {
                    let selected = select(message);
                    if count == Count::Taken || selected.is_some() {
                        metrics::BROADCASTED.inc();
                    }
                    if let Some(item) = selected {
                        return Some((Ok(item), (subscriber, missed, select)));
                    }
                }
                Err(RecvError::Lagged(skipped)) => {
                    metrics::DROPPED.inc_by(skipped);
                    missed.add(skipped, &subscriber.registration);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }))
}

/// What a subscription missed since it last warned about it.
#[derive(Debug, Default)]
struct MissedReport {
    messages: u64,
    last_warning: Option<Instant>,
}

impl MissedReport {
    fn add(&mut self, skipped: u64, subscription: &Registration) {
        self.messages += skipped;
        if self.last_warning.is_some_and(|at| at.elapsed() < WARNING_INTERVAL) {
            return;
        }
        tracing::warn!(
            "subscription id={}, key={} addr={} dropped {} messages, channel is full",
            subscription.id,
            subscription.key,
            subscription.peer,
            self.messages
        );
        self.messages = 0;
        self.last_warning = Some(Instant::now());
    }
}
