//! The exchange with other safekeepers and pageservers through the storage broker.
//!
//! Three tasks: [`push`] tells about active timelines every second, [`pull`] takes in what peers
//! tell, [`discover`] answers pageservers that look for WAL. Losing the broker loses nothing:
//! a supervisor starts each again a second after it ended.

mod discover;
mod message;
mod pull;
mod push;

use std::sync::Arc;
use std::time::Duration;

use storage_broker::client::{BrokerClient, ConnectError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utils::TenantTimelineId;

use crate::timeline::TimelineError;
use crate::timelines::Timelines;

/// How often the supervisor looks after its tasks.
const SUPERVISE_INTERVAL: Duration = Duration::from_secs(1);

/// Why a task ended. It is started again.
#[derive(Debug, thiserror::Error)]
enum BrokerError {
    /// The broker cannot be reached, or ended the call.
    #[error("broker call {call} failed: {source}")]
    Call { call: &'static str, source: Box<tonic::Status> },
    /// The broker closed a subscription.
    #[error("broker closed subscription {0}")]
    Closed(&'static str),
    /// A message that does not say which timeline it is about.
    #[error("broker message without tenant and timeline")]
    NoTimeline,
    /// A peer's message could not be taken in.
    #[error("cannot record peer info of timeline {ttid}: {source}")]
    Record { ttid: TenantTimelineId, source: TimelineError },
}

impl BrokerError {
    fn call(call: &'static str) -> impl FnOnce(tonic::Status) -> Self {
        move |source| BrokerError::Call { call, source: Box::new(source) }
    }
}

type TaskHandle = Option<JoinHandle<Result<(), BrokerError>>>;

/// Runs the exchange until `cancel` fires. The connection is made by the first call, so an
/// error here is one of configuration.
pub fn connect(timelines: &Timelines) -> Result<BrokerClient, ConnectError> {
    let config = timelines.config();
    storage_broker::client::connect(&config.broker_endpoint, config.broker_keepalive_interval)
}

/// Keeps the three tasks running until `cancel` fires.
pub async fn run(timelines: Arc<Timelines>, client: BrokerClient, cancel: CancellationToken) {
    let mut push: TaskHandle = None;
    let mut pull: TaskHandle = None;
    let mut discover: TaskHandle = None;
    let activity = Arc::new(pull::Activity::default());
    let mut ticks = tokio::time::interval(SUPERVISE_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // A tick is cancel safe.
        tokio::select! {
            () = cancel.cancelled() => break,
            _ = ticks.tick() => {}
        }
        if timelines.config().periodic_broker_push {
            supervise("push", &mut push, || push::run(timelines.clone(), client.clone())).await;
        }
        supervise("pull", &mut pull, || {
            pull::run(timelines.clone(), client.clone(), activity.clone())
        })
        .await;
        supervise("discover", &mut discover, || discover::run(timelines.clone(), client.clone()))
            .await;
        activity.warn_of_silence();
    }
    for task in [push, pull, discover].into_iter().flatten() {
        task.abort();
    }
}

async fn supervise<F>(name: &'static str, task: &mut TaskHandle, start: impl FnOnce() -> F)
where
    F: Future<Output = Result<(), BrokerError>> + Send + 'static,
{
    if let Some(running) = task.take_if(|running| running.is_finished()) {
        match running.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("broker {name} task failed: {error}"),
            Err(error) => tracing::warn!("broker {name} task ended: {error}"),
        }
    }
    if task.is_none() {
        let span = tracing::info_span!("broker", task = name);
        *task = Some(tokio::spawn(start().instrument(span)));
    }
}
