//! Checks the token of a request. What a token allows is the handlers' business: they find
//! its claims through [`RequestClaims`](crate::extract::RequestClaims).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, header};

use crate::{ApiError, HttpOptions};

pub(crate) async fn check_token(
    State(options): State<Arc<HttpOptions>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let public = options.public_paths.contains(&request.uri().path());
    if let Some(auth) = options.auth.as_ref().filter(|_| !public) {
        let claims = auth.decode(bearer_token(request.headers())?).map_err(|error| {
            // The reason is for the operator; a caller without a valid token gets no hints.
            tracing::warn!("Authentication error: {error}");
            ApiError::Forbidden("JWT authentication error".to_owned())
        })?;
        request.extensions_mut().insert(claims);
    }
    Ok(next.run(request).await)
}

fn bearer_token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let unauthorized = |text: &str| ApiError::Unauthorized(text.to_owned());
    headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| unauthorized("missing authorization header"))?
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("Bearer "))
        .ok_or_else(|| unauthorized("malformed authorization header"))
}
