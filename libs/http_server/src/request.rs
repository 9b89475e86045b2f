//! One request: its id, its log span and its task.
//!
//! A handler runs in a task of its own, so that a client that goes away does not stop it at
//! an arbitrary point; instead the token in [`RequestCancellation`] fires.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::LoggedError;
use crate::{ApiError, HttpOptions};

/// Names a request in logs across services.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Extractor: fires when the client has gone before the handler is done.
#[derive(Debug, Clone)]
pub struct RequestCancellation(pub CancellationToken);

impl<S: Sync> FromRequestParts<S> for RequestCancellation {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Outside of `wrap` nobody watches the client: a token that never fires.
        Ok(parts
            .extensions
            .get()
            .cloned()
            .unwrap_or_else(|| RequestCancellation(CancellationToken::new())))
    }
}

pub(crate) async fn handle(
    State(options): State<Arc<HttpOptions>>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = request.headers().get(REQUEST_ID_HEADER).cloned().unwrap_or_else(fresh_id);
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        path = %request.uri().path(),
        request_id = request_id.to_str().unwrap_or("<not printable>"),
    );
    let cancel = CancellationToken::new();
    request.extensions_mut().insert(RequestCancellation(cancel.clone()));

    let mut watch = ClientWatch { cancel: cancel.clone(), span: span.clone(), finished: false };
    let task = tokio::spawn(run(request, next, cancel).instrument(span));
    let joined = task.await;
    watch.finished = true;
    let mut response = joined.unwrap_or_else(|error| {
        tracing::error!("HTTP request handler task panicked: {error}");
        ApiError::internal(anyhow::anyhow!("HTTP request handler task panicked")).into_response()
    });

    response.headers_mut().insert(REQUEST_ID_HEADER, request_id);
    for (name, value) in &options.response_headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

async fn run(request: Request, next: Next, cancel: CancellationToken) -> Response {
    let quiet = request.method() == Method::GET;
    if quiet {
        tracing::debug!("Handling request");
    } else {
        tracing::info!("Handling request");
    }
    let response = next.run(request).await;
    let status = response.status();
    let error = response.extensions().get::<LoggedError>();
    if cancel.is_cancelled() {
        match error {
            Some(LoggedError(error)) => {
                tracing::error!("Cancelled request finished with an error: {error:?}");
            }
            None => tracing::info!(%status, "Cancelled request finished successfully"),
        }
    } else {
        if let Some(LoggedError(error)) = error {
            error.log();
        }
        if quiet && status.is_success() {
            tracing::debug!("Request handled, status: {status}");
        } else {
            tracing::info!("Request handled, status: {status}");
        }
    }
    response
}

fn fresh_id() -> HeaderValue {
    let id = uuid::Uuid::new_v4().to_string();
    HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

/// Dropped with the connection's interest in the response.
struct ClientWatch {
    cancel: CancellationToken,
    span: tracing::Span,
    finished: bool,
}

impl Drop for ClientWatch {
    fn drop(&mut self) {
        if !self.finished {
            let _entered = self.span.enter();
            tracing::warn!("request was dropped before completing");
            self.cancel.cancel();
        }
    }
}
