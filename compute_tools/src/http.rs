//! The status API. Thin: it reads the board and passes requests on.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_server::ApiError;
use metrics::register_int_gauge;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::spec::{ComputeSpec, Endpoint};
use crate::status::{ComputeStatus, StatusBoard, StatusReport};

/// A changed spec on its way to the endpoint.
#[derive(Debug)]
pub struct ConfigureRequest {
    /// The checked spec.
    pub endpoint: Endpoint,
    /// Where the outcome goes.
    pub reply: oneshot::Sender<anyhow::Result<()>>,
}

/// What the handlers need.
#[derive(Clone, Debug)]
pub struct HttpState {
    /// The board.
    pub board: Arc<StatusBoard>,
    /// Takes changed specs.
    pub configure: mpsc::Sender<ConfigureRequest>,
    /// Ends the endpoint.
    pub terminate: CancellationToken,
}

#[derive(Deserialize)]
struct ConfigureBody {
    spec: ComputeSpec,
}

/// The routes, inside the common HTTP kit.
pub fn router(state: HttpState) -> Router {
    let routes = Router::new()
        .route("/status", get(status))
        .route("/metrics.json", get(status))
        .route("/configure", post(configure))
        .route("/terminate", post(terminate))
        .with_state(state.clone());
    let options = http_server::HttpOptions {
        public_paths: vec!["/metrics", "/status"],
        ..Default::default()
    };
    let refresh = move |request: axum::extract::Request| {
        publish_metrics(&state.board);
        std::future::ready(request)
    };
    // `/metrics` belongs to the kit, so the gauges are filled in outside of it.
    http_server::wrap(routes, options).layer(axum::middleware::map_request(refresh))
}

async fn status(State(state): State<HttpState>) -> Json<StatusReport> {
    Json(state.board.report())
}

async fn configure(State(state): State<HttpState>, body: String) -> Result<Response, ApiError> {
    let body: ConfigureBody = serde_json::from_str(&body)
        .map_err(|error| ApiError::bad_request(format!("cannot read the spec: {error}")))?;
    let token = std::env::var(crate::cli::TOKEN_VARIABLE).ok();
    let endpoint = body.spec.check(token).map_err(ApiError::bad_request)?;
    let status = state.board.status();
    if !matches!(status, ComputeStatus::Empty | ComputeStatus::Running) {
        let text = format!("invalid compute status for configuration request: {status:?}");
        return Err(ApiError::PreconditionFailed(text.into()));
    }
    let (reply, outcome) = oneshot::channel();
    let request = ConfigureRequest { endpoint, reply };
    state.configure.send(request).await.map_err(|_| ApiError::ShuttingDown)?;
    outcome.await.map_err(|_| ApiError::ShuttingDown)?.map_err(|error| {
        // The launcher shows this text to its user, so it carries the whole chain.
        ApiError::InternalServerError(anyhow::anyhow!("{error:#}"))
    })?;
    Ok(Json(state.board.report()).into_response())
}

/// Stops PostgreSQL cleanly and answers when everything has ended.
async fn terminate(State(state): State<HttpState>) -> Json<StatusReport> {
    let mut status = state.board.subscribe();
    state.terminate.cancel();
    let ended = |status: &ComputeStatus| {
        matches!(status, ComputeStatus::Terminated | ComputeStatus::Failed)
    };
    // An error means that the board is gone, which is an end as well.
    let _ = status.wait_for(ended).await;
    Json(state.board.report())
}

/// Copies the board into the gauges that `/metrics` renders.
pub fn publish_metrics(board: &StatusBoard) {
    let report = board.report();
    let positions = report.positions;
    let gauges = &*GAUGES;
    let values = [
        positions.start_lsn.0,
        positions.term,
        positions.wal_end_lsn.0,
        positions.commit_lsn.0,
        report.commit_lag_bytes,
        positions.wal_end_lsn.saturating_sub(positions.pageserver_received_lsn),
        positions.backpressure_delay_ms,
        report.basebackup_bytes,
        report.wal_sent_bytes,
        positions.active_safekeepers as u64,
    ];
    for (gauge, value) in gauges.iter().zip(values) {
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

static GAUGES: std::sync::LazyLock<Vec<metrics::IntGauge>> = std::sync::LazyLock::new(|| {
    let names = [
        ("compute_start_lsn", "Position the data directory was built at"),
        ("compute_term", "Term of the proposer"),
        ("compute_wal_end_lsn", "End of the WAL received from PostgreSQL"),
        ("compute_commit_lsn", "Position that a quorum of safekeepers has"),
        ("compute_commit_lag_bytes", "WAL that no quorum has yet"),
        ("compute_pageserver_lag_bytes", "WAL that the slowest pageserver shard has not received"),
        ("compute_backpressure_delay_ms", "Current delay of acknowledgements"),
        ("compute_basebackup_bytes", "Bytes of the base backup received"),
        ("compute_wal_sent_bytes", "Bytes of WAL sent to safekeepers"),
        ("compute_active_safekeepers", "Safekeepers that are receiving WAL"),
    ];
    names
        .into_iter()
        // Two gauges of one name would be a mistake in the table above.
        .map(|(name, help)| register_int_gauge!(name, help).expect("metric names are unique"))
        .collect()
});
