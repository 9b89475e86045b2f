//! A client of the safekeeper's HTTP API.
//!
//! One method per route. Does not retry: whether to is the caller's business, and
//! [`ClientError::is_transient`] helps to decide.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use utils::{Lsn, TenantId, TimelineId};

use crate::models::{
    ControlFilePatch, ControlFilePatchResult, NodeStatus, PullTimelineRequest,
    PullTimelineResponse, SafekeeperTimelineInfo, TimelineCopyRequest, TimelineCreateRequest,
    TimelineDeleteResult, TimelineDigest, TimelineStatus,
};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request did not reach the safekeeper, or its answer did not come back whole.
    #[error("{method} {url}: {source}")]
    Transport {
        /// HTTP method.
        method: Method,
        /// What was asked.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The safekeeper refused.
    #[error("{method} {url}: safekeeper answered {status}: {message}")]
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
                *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
            }
        }
    }
}

/// Talks to one safekeeper.
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
    /// A client of the safekeeper at `base_url` (such as `http://127.0.0.1:7676`), which presents
    /// `token` when there is one.
    pub fn new(http: reqwest::Client, base_url: &str, token: Option<String>) -> Self {
        Self { http, base_url: base_url.trim_end_matches('/').to_owned(), token }
    }

    /// `GET /v1/status`: is it up, and who is it.
    pub async fn status(&self) -> Result<NodeStatus, ClientError> {
        self.call(Method::GET, "/v1/status", |r| r).await
    }

    /// Creates a timeline; succeeds when it exists already.
    pub async fn create_timeline(
        &self,
        request: &TimelineCreateRequest,
    ) -> Result<(), ClientError> {
        self.call(Method::POST, "/v1/tenant/timeline", |r| r.json(request)).await
    }

    /// Everything about one timeline.
    pub async fn timeline_status(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
    ) -> Result<TimelineStatus, ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}");
        self.call(Method::GET, &path, |r| r).await
    }

    /// Deletes a timeline; `only_local` leaves archived WAL alone.
    pub async fn delete_timeline(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
        only_local: bool,
    ) -> Result<TimelineDeleteResult, ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}?only_local={only_local}");
        self.call(Method::DELETE, &path, |r| r).await
    }

    /// Deletes every timeline of a tenant.
    pub async fn delete_tenant(
        &self,
        tenant: TenantId,
        only_local: bool,
    ) -> Result<HashMap<TimelineId, TimelineDeleteResult>, ClientError> {
        let path = format!("/v1/tenant/{tenant}?only_local={only_local}");
        self.call(Method::DELETE, &path, |r| r).await
    }

    /// Persists the control file now, which lets WAL removal proceed.
    pub async fn checkpoint(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}/checkpoint");
        self.call(Method::POST, &path, |r| r).await
    }

    /// Hands in peer state as if the broker had delivered it.
    pub async fn record_safekeeper_info(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
        info: &SafekeeperTimelineInfo,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/record_safekeeper_info/{tenant}/{timeline}");
        self.call(Method::POST, &path, |r| r.json(info)).await
    }

    /// Makes the safekeeper fetch a timeline from others.
    pub async fn pull_timeline(
        &self,
        request: &PullTimelineRequest,
    ) -> Result<PullTimelineResponse, ClientError> {
        self.call(Method::POST, "/v1/pull_timeline", |r| r.json(request)).await
    }

    /// Copies a timeline to a new one of the same tenant.
    pub async fn copy_timeline(
        &self,
        tenant: TenantId,
        source: TimelineId,
        request: &TimelineCopyRequest,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{source}/copy");
        self.call(Method::POST, &path, |r| r.json(request)).await
    }

    /// The digest of the WAL from `from_lsn` to `until_lsn`.
    pub async fn digest(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
        from_lsn: Lsn,
        until_lsn: Lsn,
    ) -> Result<TimelineDigest, ClientError> {
        let range = format!("from_lsn={from_lsn}&until_lsn={until_lsn}");
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}/digest?{range}");
        self.call(Method::GET, &path, |r| r).await
    }

    /// Changes fields of a control file.
    pub async fn patch_control_file(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
        patch: &ControlFilePatch,
    ) -> Result<ControlFilePatchResult, ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}/control_file");
        self.call(Method::PATCH, &path, |r| r.json(patch)).await
    }

    /// A timeline as a tar archive, whose content is yet to be read.
    pub async fn snapshot(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
    ) -> Result<Response, ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}/snapshot");
        Ok(self.send(Method::GET, &path, |r| r).await?.0)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<T, ClientError> {
        let (response, url) = self.send(method.clone(), path, fill).await?;
        response.json().await.map_err(|source| ClientError::Transport { method, url, source })
    }

    /// The response, if it is one of success, and the URL.
    async fn send(
        &self,
        method: Method,
        path: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<(Response, String), ClientError> {
        let url = format!("{}{path}", self.base_url);
        let mut request = fill(self.http.request(method.clone(), &url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(source) => return Err(ClientError::Transport { method, url, source }),
        };
        match response.status().is_success() {
            true => Ok((response, url)),
            false => Err(refusal(method, url, response).await),
        }
    }
}

async fn refusal(method: Method, url: String, response: Response) -> ClientError {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    let message = serde_json::from_str::<ErrorBody>(&body).map_or(body, |error| error.msg);
    ClientError::Refused { method, url, status, message }
}
