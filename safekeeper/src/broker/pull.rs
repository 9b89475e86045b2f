//! Taking in what peers tell about the timelines we share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use storage_broker::client::BrokerClient;
use storage_broker::ids::parse_ttid;
use storage_broker::proto::SubscribeSafekeeperInfoRequest;
use storage_broker::proto::subscribe_safekeeper_info_request::SubscriptionKey;
use tokio_stream::StreamExt;

use super::{BrokerError, message};
use crate::metrics::BROKER_PULLED_UPDATES;
use crate::timelines::Timelines;

const CALL: &str = "SubscribeSafekeeperInfo";
/// Silence that is worth a line in the log, and the least time between two such lines.
const SILENCE: Duration = Duration::from_secs(10);

/// When the broker was last heard of.
#[derive(Debug, Default)]
pub(super) struct Activity {
    state: Mutex<ActivityState>,
}

#[derive(Debug, Default)]
struct ActivityState {
    last_update: Option<(Instant, SystemTime)>,
    last_warning: Option<Instant>,
}

impl Activity {
    fn record(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_update = Some((Instant::now(), SystemTime::now()));
    }

    /// Says so if messages used to arrive and no longer do.
    pub(super) fn warn_of_silence(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let warned_lately = state.last_warning.is_some_and(|warned| warned.elapsed() < SILENCE);
        let Some((last, when)) = state.last_update else { return };
        if last.elapsed() >= SILENCE && !warned_lately {
            let when = chrono::DateTime::<chrono::Utc>::from(when);
            tracing::info!("no broker updates for some time, last update: {when}");
            state.last_warning = Some(Instant::now());
        }
    }
}

pub(super) async fn run(
    timelines: Arc<Timelines>,
    mut client: BrokerClient,
    activity: Arc<Activity>,
) -> Result<(), BrokerError> {
    let request =
        SubscribeSafekeeperInfoRequest { subscription_key: Some(SubscriptionKey::All(())) };
    let subscription =
        client.subscribe_safekeeper_info(request).await.map_err(BrokerError::call(CALL))?;
    let mut messages = subscription.into_inner();
    while let Some(message) = messages.next().await {
        let message = message.map_err(BrokerError::call(CALL))?;
        activity.record();
        let wire = message.tenant_timeline_id.as_ref().ok_or(BrokerError::NoTimeline)?;
        let ttid = parse_ttid(wire).map_err(BrokerError::call(CALL))?;
        let Ok(timeline) = timelines.get(ttid) else {
            BROKER_PULLED_UPDATES.with_label_values(&["not_found"]).inc();
            continue;
        };
        let (id, info) = message::from_proto(message);
        match timeline.record_peer(id, &info).await {
            Ok(()) => BROKER_PULLED_UPDATES.with_label_values(&["ok"]).inc(),
            Err(source) => {
                BROKER_PULLED_UPDATES.with_label_values(&["error"]).inc();
                return Err(BrokerError::Record { ttid, source });
            }
        }
    }
    Err(BrokerError::Closed(CALL))
}
