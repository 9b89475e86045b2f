//! The HTTP kit every daemon shares: requests in their own tasks with spans and ids, errors
//! as status and JSON, token checks, `/metrics` and `/v1/failpoints`.
//!
//! Routes and what they do belong to the daemons; nothing here knows any of them.
//!
//! ```no_run
//! # async fn run() -> anyhow::Result<()> {
//! use axum::{Json, Router, routing::get};
//! let routes = Router::new().route("/v1/status", get(async || Json("up")));
//! let router = http_server::wrap(routes, http_server::HttpOptions::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9898").await?;
//! http_server::serve(listener, router, Default::default()).await?;
//! # Ok(()) }
//! ```

mod auth;
pub mod document;
mod error;
pub mod extract;
mod request;
mod routes;
mod serve;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::routing::{get, put};
use http::{HeaderName, HeaderValue, Uri};
use tower::ServiceExt;
use utils::auth::{Claims, SharedJwtAuth};

pub use self::error::{ApiError, ErrorBody};
pub use self::request::{REQUEST_ID_HEADER, RequestCancellation};
pub use self::serve::{bind, serve, serve_tls};

/// Decides whether a caller may use a node-wide route. `None` means that tokens are not
/// checked on this server.
pub type PermissionCheck = fn(Option<&Claims>) -> Result<(), ApiError>;

/// What [`wrap`] puts around a daemon's routes.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Keys to check tokens with; `None` lets everybody in.
    pub auth: Option<SharedJwtAuth>,
    /// Paths that need no token.
    pub public_paths: Vec<&'static str>,
    /// Who may configure failpoints.
    pub failpoints_permission: PermissionCheck,
    /// Whether the failpoints `api-500` and `api-503` apply to paths under `/v1/`.
    pub api_failpoints: bool,
    /// Headers added to every response.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            auth: None,
            public_paths: vec!["/metrics", "/v1/status"],
            failpoints_permission: |_| Ok(()),
            api_failpoints: false,
            response_headers: Vec::new(),
        }
    }
}

/// Adds the common routes and the handling of requests to a daemon's own routes.
pub fn wrap(routes: Router, options: HttpOptions) -> Router {
    let options = Arc::new(options);
    let failpoints_permission = options.failpoints_permission;
    let inner = routes
        .route("/metrics", get(routes::metrics))
        .route(
            routes::FAILPOINTS_PATH,
            put(move |claims, body| routes::failpoints(failpoints_permission, claims, body)),
        )
        .fallback(routes::not_found)
        .method_not_allowed_fallback(routes::not_found)
        // The last layer added runs first.
        .layer(middleware::from_fn_with_state(options.clone(), routes::api_failpoints))
        .layer(middleware::from_fn_with_state(options.clone(), auth::check_token))
        .layer(middleware::from_fn_with_state(options, request::handle));
    // Routing happens inside `inner`, so the path has to be tidied outside of it.
    Router::new().fallback_service(inner.map_request(strip_trailing_slash))
}

fn strip_trailing_slash(mut request: Request) -> Request {
    if let Some(uri) = without_trailing_slash(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn without_trailing_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests;
