//! Telling others about active timelines, once a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use storage_broker::client::BrokerClient;
use storage_broker::proto::SafekeeperTimelineInfo;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{BrokerError, message};
use crate::metrics::{BROKER_ITERATION_TIMELINES, BROKER_PUSH_SECONDS, BROKER_PUSHED_UPDATES};
use crate::timelines::Timelines;

const PUSH_INTERVAL: Duration = Duration::from_secs(1);
/// A broker that reads slowly slows the push down.
const QUEUE_SIZE: usize = 128;

pub(super) async fn run(
    timelines: Arc<Timelines>,
    mut client: BrokerClient,
) -> Result<(), BrokerError> {
    let (sender, receiver) = mpsc::channel(QUEUE_SIZE);
    let publish = client.publish_safekeeper_info(ReceiverStream::new(receiver));
    // The call ends when the producer gives up, the producer when the call ends.
    let (published, ()) = tokio::join!(publish, produce(timelines, sender));
    published.map(|_| ()).map_err(BrokerError::call("PublishSafekeeperInfo"))
}

/// Ends when nobody takes messages any more.
async fn produce(timelines: Arc<Timelines>, messages: mpsc::Sender<SafekeeperTimelineInfo>) {
    let config = timelines.config();
    let mut ticks = tokio::time::interval(PUSH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if messages.is_closed() {
            return;
        }
        let started = Instant::now();
        let active = timelines.active();
        // A timeline that came to rest is spoken of once more: what brought it to rest, such as
        // the last feedback of a pageserver, is news to the peers.
        let resting = timelines.take_rested();
        for timeline in active.iter().chain(&resting) {
            let info = timeline.broker_info().await;
            let zone = config.availability_zone.clone();
            let message = SafekeeperTimelineInfo {
                https_connstr: config.listen_https.clone(),
                ..message::to_proto(config.id, timeline.ttid(), info, zone)
            };
            if messages.send(message).await.is_err() {
                return;
            }
            BROKER_PUSHED_UPDATES.inc();
        }
        let pushed = active.len() + resting.len();
        let elapsed = started.elapsed();
        BROKER_PUSH_SECONDS.observe(elapsed.as_secs_f64());
        BROKER_ITERATION_TIMELINES.observe(pushed as f64);
        if elapsed > PUSH_INTERVAL / 2 {
            tracing::info!("broker push of {pushed} timelines took {elapsed:?}");
        }
    }
}
