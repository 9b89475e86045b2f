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
/// Of the failures in a row, the first and then every so many are logged.
const WARN_EVERY: u32 = 30;

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

/// One of the three tasks.
struct Supervised {
    name: &'static str,
    handle: Option<JoinHandle<Result<(), BrokerError>>>,
    /// Failures since it last stayed alive from one look to the next.
    failures: u32,
}

impl Supervised {
    fn new(name: &'static str) -> Self {
        Self { name, handle: None, failures: 0 }
    }

    /// Starts the task if it does not run.
    async fn keep_running<F>(&mut self, start: impl FnOnce() -> F)
    where
        F: Future<Output = Result<(), BrokerError>> + Send + 'static,
    {
        if let Some(ended) = self.handle.take_if(|running| running.is_finished()) {
            let error = match ended.await {
                Ok(Ok(())) => "it ended".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            // A broker that is down for long is worth a line now and then, not three a second.
            if self.failures.is_multiple_of(WARN_EVERY) {
                tracing::warn!("broker {} task failed: {error}", self.name);
            }
            self.failures += 1;
        } else if self.handle.is_some() {
            self.failures = 0;
        }
        if self.handle.is_none() {
            let span = tracing::info_span!("broker", task = self.name);
            self.handle = Some(tokio::spawn(start().instrument(span)));
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if let Some(running) = &self.handle {
            running.abort();
        }
    }
}

/// A client of the configured broker. The first call connects, so an error here is one of
/// configuration.
pub fn connect(timelines: &Timelines) -> Result<BrokerClient, ConnectError> {
    let config = timelines.config();
    storage_broker::client::connect(
        &config.broker_endpoint,
        config.broker_keepalive_interval,
        config.tls.ca_file.as_deref(),
    )
}

/// Keeps the three tasks running until `cancel` fires.
pub async fn run(timelines: Arc<Timelines>, client: BrokerClient, cancel: CancellationToken) {
    let mut push = Supervised::new("push");
    let mut pull = Supervised::new("pull");
    let mut discover = Supervised::new("discover");
    let activity = Arc::new(pull::Activity::default());
    let mut ticks = tokio::time::interval(SUPERVISE_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // A tick is cancel safe.
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let shared = || (timelines.clone(), client.clone());
        if timelines.config().periodic_broker_push {
            let (timelines, client) = shared();
            push.keep_running(|| push::run(timelines, client)).await;
        }
        let (timelines, client) = shared();
        pull.keep_running(|| pull::run(timelines, client, activity.clone())).await;
        let (timelines, client) = shared();
        discover.keep_running(|| discover::run(timelines, client)).await;
        activity.warn_of_silence();
    }
}
