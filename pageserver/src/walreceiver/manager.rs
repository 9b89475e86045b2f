//! Keeps a timeline connected to the best safekeeper: broker events in, connections out.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use scopeguard::defer;
use storage_broker::client::BrokerClient;
use storage_broker::proto::{
    FilterTenantTimelineId, MessageType, SafekeeperDiscoveryRequest, SubscribeByFilterRequest,
    TypeSubscription, TypedMessage,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tracing::{Instrument, debug, error, info, info_span, warn};
use utils::backoff::exponential_backoff_duration;
use utils::{Lsn, NodeId};

use super::WalReceiverConfig;
use super::candidates::{
    Candidates, Choice, ConnectionProgress, CurrentConnection, SafekeeperInfo,
};
use super::connection::{self, ConnectionError, Reports};
use super::metrics::{ACTIVE_MANAGERS, BROKER_UPDATES, CANDIDATE_EVENTS, SWITCHES};
use super::silence::BrokerSilence;
use super::status::WalReceiverStatus;
use super::timeline::ReceiverTimeline;

const BROKER_RETRY_BASE_SECONDS: f64 = 0.1;
const BROKER_RETRY_MAX_SECONDS: f64 = 3.0;
/// Silence and lag are looked at this often even if nothing happens.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

type ConnectionFuture = Pin<Box<dyn Future<Output = Result<(), ConnectionError>> + Send>>;

/// The running connection.
struct Active {
    state: CurrentConnection,
    progress: watch::Receiver<ConnectionProgress>,
    cancel: CancellationToken,
    task: ConnectionFuture,
}

/// Receives one timeline's WAL until cancelled.
pub struct WalReceiver<T> {
    timeline: T,
    broker: BrokerClient,
    config: WalReceiverConfig,
    status: WalReceiverStatus,
    candidates: Candidates,
    active: Option<Active>,
    last_discovery: Option<Instant>,
    silence: BrokerSilence,
}

/// What the manager was woken by.
enum Event {
    Broker(Box<TypedMessage>),
    BrokerLost,
    Progress,
    ConnectionEnded(Result<(), ConnectionError>),
    Timer,
    Cancelled,
}

impl<T: ReceiverTimeline> WalReceiver<T> {
    /// A receiver that has not started. `status` is kept up to date while it runs.
    pub fn new(
        timeline: T,
        broker: BrokerClient,
        config: WalReceiverConfig,
        status: WalReceiverStatus,
    ) -> Self {
        WalReceiver {
            timeline,
            broker,
            config,
            status,
            candidates: Candidates::default(),
            active: None,
            last_discovery: None,
            silence: BrokerSilence::new(Instant::now()),
        }
    }

    /// Runs until cancelled. A connection has ended when this returns.
    pub async fn run(mut self, cancel: CancellationToken) {
        ACTIVE_MANAGERS.inc();
        let status = self.status.clone();
        defer! {
            ACTIVE_MANAGERS.dec();
            status.set(None);
        }
        let mut waiters = self.timeline.lsn_waiters();
        let mut failures = 0;
        while !cancel.is_cancelled() {
            match self.subscribe(&cancel).await {
                Some(subscription) => {
                    failures = 0;
                    self.follow(subscription, &mut waiters, &cancel).await;
                }
                None => failures += 1,
            }
            let is_awaited = *waiters.borrow_and_update();
            self.warn_of_silence(is_awaited);
            // Without a broker the present connection goes on.
            let wait = exponential_backoff_duration(
                failures,
                BROKER_RETRY_BASE_SECONDS,
                BROKER_RETRY_MAX_SECONDS,
            );
            self.serve_connection_for(wait, &cancel).await;
        }
        self.stop_connection().await;
    }

    async fn subscribe(&mut self, cancel: &CancellationToken) -> Option<Streaming<TypedMessage>> {
        let kinds = [MessageType::SafekeeperTimelineInfo, MessageType::SafekeeperDiscoveryResponse];
        let request = SubscribeByFilterRequest {
            types: kinds.into_iter().map(|kind| TypeSubscription { r#type: kind.into() }).collect(),
            tenant_timeline_id: Some(FilterTenantTimelineId {
                enabled: true,
                tenant_timeline_id: Some(self.timeline.ttid().into()),
            }),
        };
        let mut broker = self.broker.clone();
        let subscription = broker.subscribe_by_filter(request);
        tokio::pin!(subscription);
        loop {
            let subscribed = tokio::select! {
                () = cancel.cancelled() => return None,
                subscribed = &mut subscription => subscribed,
                event = next_connection_event(&mut self.active) => {
                    self.handle(event).await;
                    continue;
                }
            };
            return match subscribed {
                Ok(stream) => {
                    debug!("subscribed to broker updates");
                    Some(stream.into_inner())
                }
                Err(status) => {
                    info!("could not subscribe to broker updates: {status}");
                    None
                }
            };
        }
    }

    /// Handles events until the broker is lost or the receiver is cancelled.
    async fn follow(
        &mut self,
        mut subscription: Streaming<TypedMessage>,
        waiters: &mut watch::Receiver<bool>,
        cancel: &CancellationToken,
    ) {
        loop {
            self.choose_connection().await;
            // Read before the await: the guard that the channel returns cannot move between threads.
            let is_awaited = *waiters.borrow_and_update();
            self.request_discovery(is_awaited).await;
            self.warn_of_silence(is_awaited);
            self.publish_status();
            let timer = self.candidates.time_until_retry(Instant::now());
            let timer = timer.map_or(CHECK_INTERVAL, |wait| wait.min(CHECK_INTERVAL));
            // Every branch is cancel safe: streams and channels keep what was not taken, and
            // the connection is only polled, never dropped.
            let event = tokio::select! {
                () = cancel.cancelled() => Event::Cancelled,
                message = subscription.message() => broker_event(message),
                event = next_connection_event(&mut self.active) => event,
                changed = waiters.changed() => match changed {
                    Ok(()) => Event::Timer,
                    Err(_) => Event::Cancelled,
                },
                () = tokio::time::sleep(timer) => Event::Timer,
            };
            let last = matches!(event, Event::BrokerLost | Event::Cancelled);
            self.handle(event).await;
            if last {
                return;
            }
        }
    }

    async fn serve_connection_for(&mut self, wait: Duration, cancel: &CancellationToken) {
        let deadline = Instant::now() + wait;
        loop {
            let event = tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(deadline) => return,
                event = next_connection_event(&mut self.active) => event,
            };
            self.handle(event).await;
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Broker(message) => self.handle_broker_message(*message),
            Event::Progress => self.handle_progress(),
            Event::ConnectionEnded(result) => self.handle_connection_end(&result),
            Event::BrokerLost | Event::Timer | Event::Cancelled => {}
        }
    }

    fn handle_broker_message(&mut self, message: TypedMessage) {
        BROKER_UPDATES.inc();
        self.silence.message_came(Instant::now());
        let Some((node, info, standby_horizon)) = safekeeper_info(message) else {
            warn!("broker sent a message without the part its type names");
            return;
        };
        if standby_horizon.is_valid() {
            self.timeline.set_standby_horizon(standby_horizon);
        }
        let description = info.connstr.clone();
        if self.candidates.update(node, info, Instant::now()) {
            info!("New SK node was added: {node} at {description}");
            CANDIDATE_EVENTS.with_label_values(&["add"]).inc();
        }
    }

    fn handle_progress(&mut self) {
        if let Some(active) = &mut self.active {
            active.state.progress = *active.progress.borrow_and_update();
            if active.state.progress.has_processed_wal {
                self.candidates.connection_succeeded(active.state.node);
            }
        }
    }

    fn handle_connection_end(&mut self, result: &Result<(), ConnectionError>) {
        self.handle_progress();
        let Some(active) = self.active.take() else { return };
        let node = active.state.node;
        match result {
            Ok(()) => info!("connection to safekeeper {node} ended"),
            Err(ConnectionError::Client(postgres_client::Error::ConnectTimeout {
                timeout,
                ..
            })) => info!("Timed out while waiting {timeout:?} for walreceiver connection to open"),
            Err(reason) if reason.is_expected() => {
                info!("connection to safekeeper {node} ended: {reason}");
            }
            Err(reason) => {
                error!("connection to safekeeper {node} failed: {}", error_chain(reason));
            }
        }
        self.candidates.connection_ended(node, active.state.started_at);
    }

    async fn choose_connection(&mut self) {
        let (now, timeout) = (Instant::now(), self.config.lagging_wal_timeout);
        for node in self.candidates.remove_silent(timeout, now) {
            info!(
                "Safekeeper node {node} did not send events for over {timeout:?}, \
                 not retrying the connections"
            );
            CANDIDATE_EVENTS.with_label_values(&["remove"]).inc();
        }
        let last_record_lsn = self.timeline.last_record_lsn();
        let current = self.active.as_mut().map(|active| &mut active.state);
        let choice = self.candidates.choose(current, last_record_lsn, &self.config, now);
        if let Some(choice) = choice {
            info!("Switching to new connection candidate: {choice}");
            SWITCHES.with_label_values(&[choice.reason.name()]).inc();
            // Two connections would be two writers.
            self.stop_connection().await;
            self.start_connection(choice);
        }
    }

    fn start_connection(&mut self, choice: Choice) {
        let state = CurrentConnection::starting(
            choice.node,
            choice.info.availability_zone.clone(),
            Instant::now(),
        );
        let (sender, progress) = watch::channel(state.progress);
        let reports = Reports {
            progress: sender,
            status: self.status.clone(),
            source: format!("host={} port={}", choice.address.host, choice.address.port).into(),
        };
        let cancel = CancellationToken::new();
        let task = connection::run(
            self.timeline.clone(),
            self.config.clone(),
            choice.address,
            reports,
            cancel.clone(),
        );
        let task = task.instrument(info_span!("connection", node_id = %choice.node));
        self.active = Some(Active { state, progress, cancel, task: Box::pin(task) });
    }

    async fn stop_connection(&mut self) {
        if let Some(active) = &mut self.active {
            active.cancel.cancel();
            let result = (&mut active.task).await;
            self.handle_connection_end(&result);
        }
    }

    /// Safekeepers do not speak of a timeline that is not written to. If somebody waits for
    /// WAL and nobody is known, they are asked. A connection that brings nothing does not
    /// count: it may be to the one safekeeper that lacks what is waited for.
    async fn request_discovery(&mut self, somebody_waits: bool) {
        let now = Instant::now();
        let timeout = self.config.lagging_wal_timeout;
        let recent = |at: Instant| now.saturating_duration_since(at) < timeout;
        let is_served =
            self.active.as_ref().is_some_and(|active| recent(active.state.progress.latest_wal));
        let asked_lately = self.last_discovery.is_some_and(recent);
        if !somebody_waits || is_served || !self.candidates.is_empty() || asked_lately {
            return;
        }
        self.last_discovery = Some(now);
        let message = TypedMessage {
            r#type: MessageType::SafekeeperDiscoveryRequest.into(),
            safekeeper_discovery_request: Some(SafekeeperDiscoveryRequest {
                tenant_timeline_id: Some(self.timeline.ttid().into()),
            }),
            ..TypedMessage::default()
        };
        info!(
            "No connection brings WAL and no candidates, sending discovery request to the broker"
        );
        if let Err(status) = self.broker.publish_one(message).await {
            info!("could not send a discovery request: {status}");
        }
    }

    /// A timeline whose WAL arrives or is waited for is one that safekeepers should speak of.
    fn warn_of_silence(&mut self, somebody_waits: bool) {
        let now = Instant::now();
        let wal_came = self.active.as_ref().map(|active| active.state.progress.latest_wal);
        if let Some(silent) = self.silence.warning(somebody_waits, wal_came, now) {
            warn!(
                "the broker has said nothing about this timeline for {silent:?}, although its WAL \
                 is waited for or arrives; safekeepers that are ahead or gone are not noticed"
            );
        }
    }

    fn publish_status(&self) {
        let connection = match &self.active {
            None => "no connection".to_owned(),
            Some(active) => {
                let state = &active.state;
                let position = |lsn: Option<Lsn>| lsn.map_or("?".to_owned(), |l| l.to_string());
                format!(
                    "connected to {}: streaming {}, commit {}",
                    state.node,
                    position(state.progress.streaming_lsn),
                    position(state.progress.commit_lsn),
                )
            }
        };
        self.status
            .set(Some(format!("{connection}; safekeeper candidates: [{}]", self.candidates)));
    }
}

/// An error with everything that caused it, on one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Drives the connection; waits for ever if there is none.
async fn next_connection_event(active: &mut Option<Active>) -> Event {
    match active {
        None => std::future::pending().await,
        Some(active) => tokio::select! {
            biased;
            result = &mut active.task => Event::ConnectionEnded(result),
            // The sender lives in the task, whose end is reported above.
            Ok(()) = active.progress.changed() => Event::Progress,
        },
    }
}

fn broker_event(message: Result<Option<TypedMessage>, tonic::Status>) -> Event {
    match message {
        Ok(Some(message)) => Event::Broker(Box::new(message)),
        Ok(None) => {
            info!("broker ended the subscription");
            Event::BrokerLost
        }
        Err(status) => {
            info!("broker subscription failed: {status}");
            Event::BrokerLost
        }
    }
}

/// Who a message is about, what it says, and the standby horizon.
fn safekeeper_info(message: TypedMessage) -> Option<(NodeId, SafekeeperInfo, Lsn)> {
    match message.r#type() {
        MessageType::SafekeeperTimelineInfo => {
            let told = message.safekeeper_timeline_info?;
            let info = SafekeeperInfo {
                commit_lsn: Lsn(told.commit_lsn),
                connstr: told.safekeeper_connstr,
                availability_zone: told.availability_zone,
            };
            Some((NodeId(told.safekeeper_id), info, Lsn(told.standby_horizon)))
        }
        MessageType::SafekeeperDiscoveryResponse => {
            let told = message.safekeeper_discovery_response?;
            let info = SafekeeperInfo {
                commit_lsn: Lsn(told.commit_lsn),
                connstr: told.safekeeper_connstr,
                availability_zone: told.availability_zone,
            };
            Some((NodeId(told.safekeeper_id), info, Lsn(told.standby_horizon)))
        }
        MessageType::Unknown | MessageType::SafekeeperDiscoveryRequest => None,
    }
}
