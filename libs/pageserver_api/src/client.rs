//! A client of the pageserver's HTTP API.
//!
//! One method per route. Does not retry: whether to is the caller's business, and
//! [`ClientError::is_transient`] helps to decide.

mod routes;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request did not reach the pageserver, or its answer did not come back whole.
    #[error("{method} {url}: {source}")]
    Transport {
        /// HTTP method.
        method: Method,
        /// What was asked.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The pageserver refused.
    #[error("{method} {url}: pageserver answered {status}: {message}")]
    Refused {
        /// HTTP method.
        method: Method,
        /// What was asked.
        url: String,
        /// The status it answered with.
        status: StatusCode,
        /// The reason it gave.
        message: String,
    },
}

impl ClientError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Transport { .. } => true,
            ClientError::Refused { status, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The status of a refusal.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            ClientError::Transport { .. } => None,
            ClientError::Refused { status, .. } => Some(*status),
        }
    }
}

/// Talks to one pageserver.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    msg: String,
}

impl Client {
    /// A client of the pageserver at `base_url` (such as `http://127.0.0.1:9898`), which presents
    /// `token` when there is one.
    pub fn new(http: reqwest::Client, base_url: &str, token: Option<String>) -> Self {
        Client { http, base_url: base_url.trim_end_matches('/').to_owned(), token }
    }

    async fn call<R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        build: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<R, ClientError> {
        let url = format!("{}{path}", self.base_url);
        let transport =
            |source| ClientError::Transport { method: method.clone(), url: url.clone(), source };
        let mut request = build(self.http.request(method.clone(), &url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(transport)?;
        if response.status().is_success() {
            return response.json().await.map_err(transport);
        }
        Err(refusal(method.clone(), url.clone(), response).await)
    }
}

async fn refusal(method: Method, url: String, response: Response) -> ClientError {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let message = match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => body.msg,
        Err(_) => text,
    };
    ClientError::Refused { method, url, status, message }
}

#[cfg(test)]
mod tests;
