//! A client of the safekeeper's HTTP API.
//!
//! One method per route. Does not retry: whether to is the caller's business, and
//! [`ClientError::is_transient`] helps to decide.

use std::collections::HashMap;

use http_client::HttpClient;
use reqwest::{Method, Response};
use utils::{Lsn, TenantId, TimelineId};

use crate::models::{
    ControlFilePatch, ControlFilePatchResult, NodeStatus, PullTimelineRequest,
    PullTimelineResponse, SafekeeperTimelineInfo, TimelineCopyRequest, TimelineCreateRequest,
    TimelineDeleteResult, TimelineDigest, TimelineStatus,
};

pub use http_client::ClientError;

/// Talks to one safekeeper.
#[derive(Clone, Debug)]
pub struct Client(HttpClient);

impl Client {
    /// A client of the safekeeper at `base_url` (such as `http://127.0.0.1:7676`), which presents
    /// `token` when there is one.
    pub fn new(http: reqwest::Client, base_url: &str, token: Option<String>) -> Self {
        Self(HttpClient::new("safekeeper", http, base_url, token))
    }

    /// `GET /v1/status`: is it up, and who is it.
    pub async fn status(&self) -> Result<NodeStatus, ClientError> {
        self.0.call(Method::GET, "/v1/status", |r| r).await
    }

    /// Creates a timeline; succeeds when it exists already.
    pub async fn create_timeline(
        &self,
        request: &TimelineCreateRequest,
    ) -> Result<(), ClientError> {
        self.0.call(Method::POST, "/v1/tenant/timeline", |r| r.json(request)).await
    }

    /// Everything about one timeline.
    pub async fn timeline_status(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
    ) -> Result<TimelineStatus, ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}");
        self.0.call(Method::GET, &path, |r| r).await
    }

    /// Deletes a timeline; `only_local` leaves archived WAL alone.
    pub async fn delete_timeline(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
        only_local: bool,
    ) -> Result<TimelineDeleteResult, ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}?only_local={only_local}");
        self.0.call(Method::DELETE, &path, |r| r).await
    }

    /// Deletes every timeline of a tenant.
    pub async fn delete_tenant(
        &self,
        tenant: TenantId,
        only_local: bool,
    ) -> Result<HashMap<TimelineId, TimelineDeleteResult>, ClientError> {
        let path = format!("/v1/tenant/{tenant}?only_local={only_local}");
        self.0.call(Method::DELETE, &path, |r| r).await
    }

    /// Persists the control file now, which lets WAL removal proceed.
    pub async fn checkpoint(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}/checkpoint");
        self.0.call(Method::POST, &path, |r| r).await
    }

    /// Hands in peer state as if the broker had delivered it.
    pub async fn record_safekeeper_info(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
        info: &SafekeeperTimelineInfo,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/record_safekeeper_info/{tenant}/{timeline}");
        self.0.call(Method::POST, &path, |r| r.json(info)).await
    }

    /// Makes the safekeeper fetch a timeline from others.
    pub async fn pull_timeline(
        &self,
        request: &PullTimelineRequest,
    ) -> Result<PullTimelineResponse, ClientError> {
        self.0.call(Method::POST, "/v1/pull_timeline", |r| r.json(request)).await
    }

    /// Copies a timeline to a new one of the same tenant.
    pub async fn copy_timeline(
        &self,
        tenant: TenantId,
        source: TimelineId,
        request: &TimelineCopyRequest,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{source}/copy");
        self.0.call(Method::POST, &path, |r| r.json(request)).await
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
        self.0.call(Method::GET, &path, |r| r).await
    }

    /// Changes fields of a control file.
    pub async fn patch_control_file(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
        patch: &ControlFilePatch,
    ) -> Result<ControlFilePatchResult, ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}/control_file");
        self.0.call(Method::PATCH, &path, |r| r.json(patch)).await
    }

    /// A timeline as a tar archive, whose content is yet to be read.
    pub async fn snapshot(
        &self,
        tenant: TenantId,
        timeline: TimelineId,
    ) -> Result<Response, ClientError> {
        let path = format!("/v1/tenant/{tenant}/timeline/{timeline}/snapshot");
        self.0.send(Method::GET, &path, |r| r).await
    }
}
