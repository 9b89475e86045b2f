//! A pagestream session: one request after the other, each answered before the next is read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pageserver_api::pagestream::{
    PagestreamRequest, PagestreamResponse, ProtocolVersion, RequestBody,
};
use postgres_backend::{BeMessage, FeMessage, PostgresBackend, QueryError};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utils::{TenantId, TimelineId};

use crate::context::with_throttled_time;

use super::directory::{ServedTimeline, ShardSelector, TimelineDirectory};
use super::handler::PageServiceHandler;
use super::metrics::METRICS;
use super::requests::{RequestError, metric_name, request_span};

impl<D: TimelineDirectory> PageServiceHandler<D> {
    pub(super) async fn handle_pagestream(
        &mut self,
        pgb: &mut PostgresBackend,
        version: ProtocolVersion,
        tenant: TenantId,
        timeline: TimelineId,
    ) -> Result<(), QueryError> {
        self.resolve(tenant, ShardSelector::First, timeline).await?;
        pgb.write_message(&BeMessage::CopyBothResponse)?;
        pgb.flush().await?;
        loop {
            let tokens = self.tokens((tenant, timeline));
            // Reading and the tokens are cancel safe.
            let message = tokio::select! {
                biased;
                () = any_cancelled(&tokens) => {
                    tracing::info!("shutdown request received in page handler");
                    return Err(QueryError::Shutdown);
                }
                message = pgb.read_message() => message?,
            };
            let payload = match message {
                Some(FeMessage::CopyData(payload)) => payload,
                Some(FeMessage::Terminate) | None => return Ok(()),
                Some(other) => {
                    let name = other.name();
                    let text = format!("unexpected message: {name} during COPY");
                    return Err(QueryError::Other(anyhow::anyhow!(text)));
                }
            };
            utils::pausable_failpoint!("ps::handle-pagerequest-message");
            let response = self.respond((tenant, timeline), version, &payload).await?;
            pgb.write_message(&BeMessage::CopyData(&response))?;
            // A peer that does not read must not delay a shutdown.
            tokio::select! {
                biased;
                () = any_cancelled(&tokens) => {
                    tracing::info!("shutdown request received in page handler");
                    return Err(QueryError::Shutdown);
                }
                flushed = pgb.flush() => flushed?,
            }
        }
    }

    /// What ends the session from outside.
    fn tokens(&self, id: (TenantId, TimelineId)) -> Vec<CancellationToken> {
        let timelines = self.held(id).iter().map(|held| held.timeline.cancellation());
        std::iter::once(self.cancellation().clone()).chain(timelines).collect()
    }

    async fn respond(
        &mut self,
        (tenant, timeline): (TenantId, TimelineId),
        version: ProtocolVersion,
        payload: &[u8],
    ) -> Result<Bytes, QueryError> {
        let request = PagestreamRequest::parse(payload, version)
            .map_err(|error| QueryError::Other(error.into()))?;
        let span = request_span(&request);
        let started = Instant::now();
        let answer = self.answer(tenant, timeline, &request).instrument(span.clone());
        let (answer, held_back) = with_throttled_time(answer).await;
        let elapsed = started.elapsed().saturating_sub(held_back);
        self.observe((tenant, timeline), &request.body, elapsed);
        let error = match answer {
            Ok(response) => return Ok(response.encode()),
            Err(error) => error,
        };
        let _entered = span.entered();
        match error {
            RequestError::Reconnect(reason) => {
                tracing::info!("handler requested reconnect: {reason}");
                Err(QueryError::Reconnect)
            }
            RequestError::Shutdown => {
                tracing::info!("dropping connection due to shutdown");
                Err(QueryError::Shutdown)
            }
            error if self.cancellation().is_cancelled() => {
                // The client would show it to its user; a lost connection is tried again.
                tracing::info!("dropped error response during shutdown: {error}");
                Err(QueryError::Shutdown)
            }
            error @ (RequestError::Read(_)
            | RequestError::LsnTimeout(_)
            | RequestError::NotFound(_)
            | RequestError::BadRequest(_)) => {
                let text = error.to_string();
                let chain = anyhow::Error::new(error);
                tracing::error!("error reading relation or page version: {chain:#}");
                Ok(PagestreamResponse::Error(text).encode())
            }
        }
    }

    fn observe(&self, id: (TenantId, TimelineId), body: &RequestBody, elapsed: Duration) {
        let Some(metrics) = METRICS.as_ref() else { return };
        let seconds = elapsed.as_secs_f64();
        let name = metric_name(body);
        metrics.requests.with_label_values(&[name]).observe(seconds);
        if let (RequestBody::GetPage(..), Some(held)) = (body, self.held(id).first()) {
            let shard = held.shard.to_string();
            let (tenant, timeline) = (id.0.to_string(), id.1.to_string());
            let labels = [name, tenant.as_str(), shard.as_str(), timeline.as_str()];
            metrics.timeline_requests.with_label_values(&labels).observe(seconds);
        }
    }
}

async fn any_cancelled(tokens: &[CancellationToken]) {
    let waiting = tokens.iter().map(|token| Box::pin(token.cancelled()));
    futures::future::select_all(waiting).await;
}
