//! Bodies of the pageserver's HTTP API, as both sides see them.
//!
//! Field names and encodings are the contract (docs/reference); nothing here decides anything.

pub mod layer;
pub mod location;
pub mod node;
pub mod tenant;
pub mod tenant_config;
pub mod timeline;

pub use layer::{
    DownloadRemoteLayersTaskInfo, DownloadRemoteLayersTaskSpawnRequest,
    DownloadRemoteLayersTaskState, HistoricLayerInfo, InMemoryLayerInfo, LayerMapInfo,
};
pub use location::{
    LocationConfig, LocationConfigList, LocationConfigMode, SecondaryConfig, SecondaryProgress,
    TenantLocationResponse, TenantShardLocation,
};
pub use node::{FailpointConfig, NodeStatus, Utilization};
pub use tenant::{
    AttachmentStatus, TenantDetails, TenantInfo, TenantState, WalRedoProcess, WalRedoStatus,
};
pub use tenant_config::{
    AuxFilePolicy, TenantConfig, TenantConfigOverrides, TenantConfigResponse, Throttle,
};
pub use timeline::{
    AncestorDetached, CheckpointOptions, GcRequest, GcResult, LsnByTimestamp, LsnByTimestampKind,
    LsnLease, LsnLeaseRequest, TimelineCreateRequest, TimelineInfo, TimelineState,
};

#[cfg(test)]
mod tests;
