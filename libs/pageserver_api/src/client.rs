//! A client of the pageserver's HTTP API.
//!
//! One method per route. Does not retry: whether to is the caller's business, and
//! [`ClientError::is_transient`] helps to decide.

mod routes;

use http_client::HttpClient;

pub use http_client::ClientError;

/// Talks to one pageserver.
#[derive(Clone, Debug)]
pub struct Client(HttpClient);

impl Client {
    /// A client of the pageserver at `base_url` (such as `http://127.0.0.1:9898`), which presents
    /// `token` when there is one.
    pub fn new(http: reqwest::Client, base_url: &str, token: Option<String>) -> Self {
        Self(HttpClient::new("pageserver", http, base_url, token))
    }
}
