//! Errors of handlers, as status codes and JSON.
//!
//! 4xx: the caller's fault. 503: not now, try again. 500: a bug or a broken disk.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

/// When to ask again after "not now".
const RETRY_AFTER_SECONDS: &str = "1";

/// What a handler can answer besides success.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the request makes no sense.
    #[error("Bad request: {0:#?}")]
    BadRequest(anyhow::Error),
    /// 401: a token is needed.
    #[error("Unauthorized: {0}")]
    Unauthorized(String),
    /// 403: the token does not allow this.
    #[error("Forbidden: {0}")]
    Forbidden(String),
    /// 404: no such thing.
    #[error("NotFound: {0}")]
    NotFound(Cow<'static, str>),
    /// 408: the caller's condition did not come true in time.
    #[error("{0}")]
    Timeout(Cow<'static, str>),
    /// 409: another operation or state is in the way.
    #[error("Conflict: {0}")]
    Conflict(String),
    /// 412: something has to be done first.
    #[error("Precondition failed: {0}")]
    PreconditionFailed(Cow<'static, str>),
    /// 500: the caller went away.
    #[error("Request cancelled")]
    Cancelled,
    /// 503: not now.
    #[error("{0}")]
    ResourceUnavailable(Cow<'static, str>),
    /// 503: never again in this process.
    #[error("Shutting down")]
    ShuttingDown,
    /// 500: a bug, or an error that repeating does not heal.
    #[error(transparent)]
    InternalServerError(anyhow::Error),
}

/// The JSON body of every error response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, for people.
    pub msg: String,
}

/// Rides on an error response, for the log.
#[derive(Clone)]
pub(crate) struct LoggedError(pub Arc<ApiError>);

impl ApiError {
    /// A [`ApiError::BadRequest`] with a text.
    pub fn bad_request(text: impl std::fmt::Display) -> Self {
        ApiError::BadRequest(anyhow::anyhow!("{text}"))
    }

    /// A [`ApiError::NotFound`] with a text.
    pub fn not_found(text: impl Into<Cow<'static, str>>) -> Self {
        ApiError::NotFound(text.into())
    }

    /// A [`ApiError::InternalServerError`] from any error.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        ApiError::InternalServerError(error.into())
    }

    /// The HTTP status this becomes.
    pub fn status(&self) -> StatusCode {
        match self {
            ApiError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ApiError::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
            ApiError::NotFound(_) => StatusCode::NOT_FOUND,
            ApiError::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
            ApiError::Conflict(_) => StatusCode::CONFLICT,
            ApiError::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            ApiError::ResourceUnavailable(_) | ApiError::ShuttingDown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ApiError::Cancelled | ApiError::InternalServerError(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The text for the client. The causes of an internal error stay in the log.
    fn message(&self) -> String {
        match self {
            ApiError::BadRequest(error) => format!("{error:#?}"),
            ApiError::InternalServerError(error) => error.to_string(),
            other => other.to_string(),
        }
    }

    /// Writes the one log line about this error.
    pub(crate) fn log(&self) {
        match self {
            ApiError::Unauthorized(_) | ApiError::Forbidden(_) => {
                tracing::warn!("Error processing HTTP request: {self}");
            }
            ApiError::Timeout(_) => {
                tracing::info!("Timeout while processing HTTP request: {self}");
            }
            ApiError::Cancelled => {
                tracing::info!("Request cancelled while processing HTTP request");
            }
            ApiError::ShuttingDown => {
                tracing::info!("Shut down while processing HTTP request");
            }
            ApiError::ResourceUnavailable(_) => tracing::info!(
                "Error processing HTTP request: Resource temporarily unavailable: {self}"
            ),
            ApiError::InternalServerError(error) => {
                tracing::error!("Error processing HTTP request: InternalServerError({error:?})")
            }
            ApiError::BadRequest(_)
            | ApiError::NotFound(_)
            | ApiError::Conflict(_)
            | ApiError::PreconditionFailed(_) => {
                tracing::info!("Error processing HTTP request: {self}");
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(ErrorBody { msg: self.message() });
        let mut response = (self.status(), body).into_response();
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            let wait = HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response.extensions_mut().insert(LoggedError(Arc::new(self)));
        response
    }
}
