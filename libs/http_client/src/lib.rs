//! What the clients of all daemons' HTTP APIs share: an address, a token, one way to call and
//! one error.
//!
//! It knows no route and does not retry: whether to is the caller's business, and
//! [`ClientError::is_transient`] helps to decide.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use reqwest;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request did not reach the server, or its answer did not come back whole.
    #[error("{request}: {source}")]
    Transport {
        /// What was asked: method and URL.
        request: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The server refused.
    #[error("{request}: {server} answered {status}: {message}")]
    Refused {
        /// What kind of server it is.
        server: &'static str,
        /// What was asked: method and URL.
        request: String,
        /// The status it answered with.
        status: StatusCode,
        /// The reason it gave.
        message: String,
    },
}

impl ClientError {
    /// Whether the same call may succeed later: the server was not reached, or said "not now".
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Transport { .. } => true,
            ClientError::Refused { status, .. } => matches!(
                *status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
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

/// Talks to one server.
#[derive(Clone, Debug)]
pub struct HttpClient {
    server: &'static str,
    http: reqwest::Client,
    base_url: String,
    token: Option<String>,
}

/// The body of every refusal.
#[derive(Deserialize)]
struct ErrorBody {
    msg: String,
}

impl HttpClient {
    /// A client of the `server`, such as "pageserver", at `base_url` (such as
    /// `http://127.0.0.1:9898`), which presents `token` when there is one.
    pub fn new(
        server: &'static str,
        http: reqwest::Client,
        base_url: &str,
        token: Option<String>,
    ) -> Self {
        Self { server, http, base_url: base_url.trim_end_matches('/').to_owned(), token }
    }

    /// Sends a request that `fill` completes, and reads the JSON of its answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<T, ClientError> {
        let (response, request) = self.exchange(method, path, fill).await?;
        response.json().await.map_err(|source| ClientError::Transport { request, source })
    }

    /// Like [`Self::call`], for answers that are not JSON: their content is yet to be read.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        Ok(self.exchange(method, path, fill).await?.0)
    }

    /// The response, if it is one of success, and what was asked.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<(Response, String), ClientError> {
        let url = format!("{}{path}", self.base_url);
        let request = format!("{method} {url}");
        let mut builder = fill(self.http.request(method, &url));
        if let Some(token) = &self.token {
            builder = builder.bearer_auth(token);
        }
        let response = match builder.send().await {
            Ok(response) => response,
            Err(source) => return Err(ClientError::Transport { request, source }),
        };
        match response.status().is_success() {
            true => Ok((response, request)),
            false => Err(self.refusal(request, response).await),
        }
    }

    async fn refusal(&self, request: String, response: Response) -> ClientError {
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        let message = serde_json::from_str::<ErrorBody>(&body).map_or(body, |error| error.msg);
        ClientError::Refused { server: self.server, request, status, message }
    }
}

#[cfg(test)]
mod tests;
