//! The routes, one method each.

use std::time::Duration;

use reqwest::Method;
use utils::{Lsn, TimelineId};

use crate::models::{
    CheckpointOptions, FailpointConfig, GcRequest, GcResult, LayerMapInfo, LocationConfig,
    LocationConfigList, LsnByTimestamp, LsnLease, LsnLeaseRequest, NodeStatus, SecondaryProgress,
    TenantConfigOverrides, TenantConfigResponse, TenantDetails, TenantInfo, TenantLocationResponse,
    TimelineCreateRequest, TimelineInfo, Utilization,
};
use crate::shard::TenantShardId;

use super::{Client, ClientError};

impl Client {
    /// Is it up, and who is it.
    pub async fn status(&self) -> Result<NodeStatus, ClientError> {
        self.0.call(Method::GET, "/v1/status", |r| r).await
    }

    /// Disk usage of the node.
    pub async fn utilization(&self) -> Result<Utilization, ClientError> {
        self.0.call(Method::GET, "/v1/utilization", |r| r).await
    }

    /// Configures failpoints; refused unless the pageserver was built for testing.
    pub async fn configure_failpoints(
        &self,
        failpoints: &[FailpointConfig],
    ) -> Result<(), ClientError> {
        self.0.call(Method::PUT, "/v1/failpoints", |r| r.json(failpoints)).await
    }

    /// Every attached tenant shard.
    pub async fn tenants(&self) -> Result<Vec<TenantInfo>, ClientError> {
        self.0.call(Method::GET, "/v1/tenant", |r| r).await
    }

    /// One tenant shard and its timelines.
    pub async fn tenant(&self, shard: TenantShardId) -> Result<TenantDetails, ClientError> {
        self.0.call(Method::GET, &format!("/v1/tenant/{shard}"), |r| r).await
    }

    /// Deletes a tenant shard, here and in remote storage.
    pub async fn delete_tenant(&self, shard: TenantShardId) -> Result<(), ClientError> {
        self.0.call(Method::DELETE, &format!("/v1/tenant/{shard}"), |r| r).await
    }

    /// The options of a tenant.
    pub async fn tenant_config(
        &self,
        shard: TenantShardId,
    ) -> Result<TenantConfigResponse, ClientError> {
        self.0.call(Method::GET, &format!("/v1/tenant/{shard}/config"), |r| r).await
    }

    /// Replaces all options of an unsharded tenant.
    pub async fn set_tenant_config(
        &self,
        tenant: utils::TenantId,
        options: &TenantConfigOverrides,
    ) -> Result<(), ClientError> {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            tenant_id: utils::TenantId,
            #[serde(flatten)]
            options: &'a TenantConfigOverrides,
        }
        let body = Body { tenant_id: tenant, options };
        self.0.call(Method::PUT, "/v1/tenant/config", |r| r.json(&body)).await
    }

    /// Attaches, detaches or reconfigures a tenant shard. The answer to a detach is `None`.
    pub async fn set_location(
        &self,
        shard: TenantShardId,
        location: &LocationConfig,
    ) -> Result<Option<TenantLocationResponse>, ClientError> {
        let path = format!("/v1/tenant/{shard}/location_config");
        self.0.call(Method::PUT, &path, |r| r.json(location)).await
    }

    /// Where a shard is and in which role; `None` while that changes.
    pub async fn location(
        &self,
        shard: TenantShardId,
    ) -> Result<Option<LocationConfig>, ClientError> {
        self.0.call(Method::GET, &format!("/v1/location_config/{shard}"), |r| r).await
    }

    /// The roles of all shards on the node.
    pub async fn locations(&self) -> Result<LocationConfigList, ClientError> {
        self.0.call(Method::GET, "/v1/location_config", |r| r).await
    }

    /// Every timeline of a tenant shard.
    pub async fn timelines(&self, shard: TenantShardId) -> Result<Vec<TimelineInfo>, ClientError> {
        self.0.call(Method::GET, &format!("/v1/tenant/{shard}/timeline"), |r| r).await
    }

    /// One timeline.
    pub async fn timeline(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
    ) -> Result<TimelineInfo, ClientError> {
        self.0.call(Method::GET, &timeline_path(shard, timeline, ""), |r| r).await
    }

    /// Creates a timeline, by initdb or as a branch.
    pub async fn create_timeline(
        &self,
        shard: TenantShardId,
        request: &TimelineCreateRequest,
    ) -> Result<TimelineInfo, ClientError> {
        let path = format!("/v1/tenant/{shard}/timeline");
        self.0.call(Method::POST, &path, |r| r.json(request)).await
    }

    /// Starts the deletion of a timeline. It is over when [`Client::timeline`] answers 404.
    pub async fn delete_timeline(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
    ) -> Result<(), ClientError> {
        self.0.call(Method::DELETE, &timeline_path(shard, timeline, ""), |r| r).await
    }

    /// Writes what is in memory to layer files.
    pub async fn checkpoint(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
        options: &CheckpointOptions,
    ) -> Result<(), ClientError> {
        let path = timeline_path(shard, timeline, "/checkpoint");
        self.0.call(Method::PUT, &path, |r| r.query(options)).await
    }

    /// Compacts a timeline once.
    pub async fn compact(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
        options: &CheckpointOptions,
    ) -> Result<(), ClientError> {
        let path = timeline_path(shard, timeline, "/compact");
        self.0.call(Method::PUT, &path, |r| r.query(options)).await
    }

    /// Collects a timeline's garbage once.
    pub async fn collect_garbage(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
        request: GcRequest,
    ) -> Result<GcResult, ClientError> {
        let path = timeline_path(shard, timeline, "/do_gc");
        self.0.call(Method::PUT, &path, |r| r.json(&request)).await
    }

    /// The layers of a timeline.
    pub async fn layers(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
    ) -> Result<LayerMapInfo, ClientError> {
        self.0.call(Method::GET, &timeline_path(shard, timeline, "/layer"), |r| r).await
    }

    /// The position of the last commit at or before an RFC 3339 `timestamp`.
    pub async fn lsn_by_timestamp(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
        timestamp: &str,
    ) -> Result<LsnByTimestamp, ClientError> {
        let path = timeline_path(shard, timeline, "/get_lsn_by_timestamp");
        self.0.call(Method::GET, &path, |r| r.query(&[("timestamp", timestamp)])).await
    }

    /// Keeps a position readable for a while.
    pub async fn lease_lsn(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
        lsn: Lsn,
    ) -> Result<LsnLease, ClientError> {
        let path = timeline_path(shard, timeline, "/lsn_lease");
        self.0.call(Method::POST, &path, |r| r.json(&LsnLeaseRequest { lsn })).await
    }

    /// Stores which layers the attached location holds, for its secondaries.
    pub async fn upload_heatmap(&self, shard: TenantShardId) -> Result<(), ClientError> {
        let path = format!("/v1/tenant/{shard}/heatmap_upload");
        self.0.call(Method::POST, &path, |r| r).await
    }

    /// How far the downloads of a secondary location are.
    pub async fn secondary_status(
        &self,
        shard: TenantShardId,
    ) -> Result<SecondaryProgress, ClientError> {
        self.0.call(Method::GET, &format!("/v1/tenant/{shard}/secondary/status"), |r| r).await
    }

    /// Downloads what the heatmap names, and waits for it so long. Finished when everything that
    /// the progress counts is there.
    pub async fn secondary_download(
        &self,
        shard: TenantShardId,
        wait: Duration,
    ) -> Result<SecondaryProgress, ClientError> {
        let path = format!("/v1/tenant/{shard}/secondary/download");
        let wait_ms = wait.as_millis().to_string();
        self.0.call(Method::POST, &path, |r| r.query(&[("wait_ms", wait_ms)])).await
    }
}

fn timeline_path(shard: TenantShardId, timeline: TimelineId, rest: &str) -> String {
    format!("/v1/tenant/{shard}/timeline/{timeline}{rest}")
}
