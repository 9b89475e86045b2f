//! The table of routes: method, path, who may use it, and what it is for, in one place.
//!
//! The server and the OpenAPI document are both made from this table, so that neither can have a
//! route that the other does not.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http_server::ApiError;
use http_server::document::{Bodies, DocumentedHandler};
use http_server::extract::PathParams;
use pageserver_api::shard::TenantShardId;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use utils::auth::Claims;

use super::{
    State, auth, aux_files, compact, debug, detach_ancestor, disk_eviction, initdb, layer,
    location, node, secondary, tenant, time_travel, timeline, timeline_ops,
};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Holders of a management token.
    Node,
    /// Holders of a management token, or of a token of the tenant.
    Tenant,
}

/// A route, for people and tools.
#[derive(Clone, Debug)]
pub struct Documented {
    /// The method.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: String,
    /// Who may use it.
    pub access: Access,
    /// What it does.
    pub summary: &'static str,
    /// What it reads and answers.
    pub bodies: Bodies,
}

/// The management API.
pub struct Api {
    /// What answers.
    pub router: Router<Arc<State>>,
    /// What there is.
    pub documented: Vec<Documented>,
    /// The schemas that bodies refer to, by name.
    pub schemas: Map<String, Value>,
}

/// Routes being collected.
pub struct Routes {
    router: Router<Arc<State>>,
    documented: Vec<Documented>,
    schemas: SchemaGenerator,
    prefix: &'static str,
}

const TENANT: &str = "/v1/tenant/{tenant_shard_id}";
const TIMELINE: &str = "/v1/tenant/{tenant_shard_id}/timeline/{timeline_id}";

impl Routes {
    fn new() -> Self {
        Routes {
            router: Router::new(),
            documented: Vec::new(),
            schemas: SchemaSettings::openapi3().into_generator(),
            prefix: "",
        }
    }

    /// The paths that follow start with this.
    fn below(self, prefix: &'static str) -> Self {
        Routes { prefix, ..self }
    }

    fn add<H, T>(
        mut self,
        method: MethodFilter,
        path: &str,
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: DocumentedHandler<T, Arc<State>>,
        T: 'static,
    {
        let path = format!("{}{path}", self.prefix);
        let bodies = handler.bodies(&mut self.schemas);
        let mut route = on(method, handler);
        route = match access {
            Access::Open => route,
            Access::Node => route.layer(middleware::from_fn(require_management_token)),
            Access::Tenant => route.layer(middleware::from_fn(require_tenant_token)),
        };
        self.router = self.router.route(&path, route);
        let method = method_name(method);
        self.documented.push(Documented { method, path, access, summary, bodies });
        self
    }

    fn get<H, T>(self, path: &str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: DocumentedHandler<T, Arc<State>>,
        T: 'static,
    {
        self.add(MethodFilter::GET, path, access, summary, handler)
    }

    fn put<H, T>(self, path: &str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: DocumentedHandler<T, Arc<State>>,
        T: 'static,
    {
        self.add(MethodFilter::PUT, path, access, summary, handler)
    }

    fn post<H, T>(self, path: &str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: DocumentedHandler<T, Arc<State>>,
        T: 'static,
    {
        self.add(MethodFilter::POST, path, access, summary, handler)
    }

    fn delete<H, T>(self, path: &str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: DocumentedHandler<T, Arc<State>>,
        T: 'static,
    {
        self.add(MethodFilter::DELETE, path, access, summary, handler)
    }

    fn node(self) -> Self {
        self.get(
            "/v1/status",
            Access::Open,
            "The node's id; answers when the node is up",
            node::status,
        )
        .get("/v1/utilization", Access::Node, "Disk usage of the node", node::utilization)
        .get("/v1/location_config", Access::Node, "Every shard and its role here", location::list)
        .get(
            "/v1/location_config/{tenant_shard_id}",
            Access::Node,
            "The role of one shard",
            location::get,
        )
        .get(
            "/v1/panic",
            Access::Node,
            "Panics in the handler, to test that it is reported",
            debug::panic,
        )
        .post(
            "/v1/reload_auth_validation_keys",
            Access::Node,
            "Reads the public keys again",
            node::reload_auth_keys,
        )
        .post(
            "/v1/top_tenants",
            Access::Node,
            "The attached shards that are largest by some measure",
            debug::top_tenants,
        )
        .post(
            "/v1/tracing/event",
            Access::Node,
            "Writes a line to the log (test builds)",
            debug::tracing_event,
        )
        .put("/v1/io_engine", Access::Node, "Chooses how files are read", debug::set_io_engine)
        .put(
            "/v1/deletion_queue/flush",
            Access::Node,
            "Waits until pending deletions are done",
            node::flush_deletion_queue,
        )
        .put(
            "/v1/disk_usage_eviction/run",
            Access::Node,
            "Evicts layers until so many bytes are freed",
            disk_eviction::run,
        )
    }

    fn tenants(self) -> Self {
        self.get("/v1/tenant", Access::Node, "Every attached shard", tenant::list)
            .put(
                "/v1/tenant/config",
                Access::Tenant,
                "Replaces all options of a tenant",
                tenant::set_config,
            )
            .below(TENANT)
            .get("", Access::Tenant, "State and timelines of a shard", tenant::get)
            .delete(
                "",
                Access::Tenant,
                "Deletes a shard, here and in remote storage",
                tenant::delete,
            )
            .get(
                "/config",
                Access::Tenant,
                "The options of a tenant, as set and as in effect",
                tenant::config,
            )
            .put(
                "/location_config",
                Access::Tenant,
                "Attaches, detaches, moves or reconfigures a shard",
                location::put,
            )
            .post(
                "/reset",
                Access::Tenant,
                "Attaches a shard anew in the same generation",
                tenant::reset,
            )
            .put(
                "/time_travel_remote_storage",
                Access::Tenant,
                "Brings a tenant that is not attached back to an earlier time",
                time_travel::recover,
            )
            .put(
                "/break",
                Access::Node,
                "Makes a tenant unusable (test builds)",
                tenant::set_broken,
            )
            .get(
                "/scan_remote_storage",
                Access::Node,
                "The shards of a tenant in remote storage",
                debug::scan_remote_storage,
            )
            .get("/timeline", Access::Tenant, "Every timeline of a shard", timeline::list)
            .post("/timeline", Access::Tenant, "Creates a timeline", timeline::create)
            .below("")
    }

    fn secondaries(self) -> Self {
        self.below(TENANT)
            .post(
                "/heatmap_upload",
                Access::Node,
                "Stores which layers are here, for secondaries",
                secondary::heatmap_upload,
            )
            .get(
                "/secondary/status",
                Access::Node,
                "How far the downloads of a secondary are",
                secondary::status,
            )
            .post(
                "/secondary/download",
                Access::Node,
                "Downloads what the heatmap names",
                secondary::download,
            )
            .below("")
    }

    fn timelines(self) -> Self {
        self.below(TIMELINE)
            .get("", Access::Tenant, "One timeline", timeline::get)
            .delete("", Access::Tenant, "Starts to delete a timeline", timeline::delete)
            .put(
                "/checkpoint",
                Access::Tenant,
                "Writes memory to layers, and compacts",
                timeline_ops::checkpoint,
            )
            .put("/compact", Access::Tenant, "Compacts a timeline (test builds)", compact::compact)
            .put(
                "/detach_ancestor",
                Access::Tenant,
                "Makes a branch independent of its ancestor",
                detach_ancestor::detach_ancestor,
            )
            .get(
                "/get_lsn_by_timestamp",
                Access::Tenant,
                "The position at a time",
                timeline_ops::get_lsn_by_timestamp,
            )
            .get(
                "/get_timestamp_of_lsn",
                Access::Tenant,
                "The time at a position",
                timeline_ops::get_timestamp_of_lsn,
            )
            .post(
                "/preserve_initdb_archive",
                Access::Tenant,
                "Keeps the archive of the initial database when the timeline is deleted",
                initdb::preserve_archive,
            )
            .post(
                "/lsn_lease",
                Access::Tenant,
                "Keeps a position readable for a while",
                timeline_ops::lsn_lease,
            )
            .get(
                "/download_remote_layers",
                Access::Tenant,
                "How far a download of all layers is",
                layer::download_all_info,
            )
            .post(
                "/download_remote_layers",
                Access::Tenant,
                "Downloads all layers",
                layer::start_download_all,
            )
            .get("/layer", Access::Tenant, "Every layer and how it was used", layer::list)
            .get("/layer/{layer_file_name}", Access::Tenant, "Downloads a layer", layer::download)
            .delete(
                "/layer/{layer_file_name}",
                Access::Tenant,
                "Removes a layer's local file",
                layer::evict,
            )
            .below("")
    }

    fn timeline_insides(self) -> Self {
        self.below(TIMELINE)
            .put(
                "/force_aux_policy_switch",
                Access::Node,
                "Writes down how auxiliary files are stored",
                aux_files::force_policy,
            )
            .post(
                "/ingest_aux_files",
                Access::Tenant,
                "Writes auxiliary files (test builds)",
                aux_files::ingest,
            )
            .post(
                "/list_aux_files",
                Access::Tenant,
                "The auxiliary files at a position (test builds)",
                aux_files::list,
            )
            .post(
                "/perf_info",
                Access::Tenant,
                "How layers are stacked over the keys (test builds)",
                debug::perf_info,
            )
            .get("/keyspace", Access::Tenant, "The keys that have values", debug::keyspace)
            .get("/getpage", Access::Tenant, "One value (test builds)", debug::get_page)
            .below("")
    }
}

/// Every route of the management API, and its description.
pub fn all() -> Api {
    let Routes { router, documented, mut schemas, .. } =
        Routes::new().node().tenants().secondaries().timelines().timeline_insides();
    Api { router, documented, schemas: schemas.take_definitions(true) }
}

async fn require_management_token(request: Request, next: Next) -> Result<Response, ApiError> {
    // No claims means that tokens are not checked on this server.
    auth::node(request.extensions().get::<Claims>())?;
    Ok(next.run(request).await)
}

/// Checks before the handler looks at the body. Where the tenant is not in the path, or is not an
/// id, the handler finds that out, and checks.
async fn require_tenant_token(
    path: PathParams,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Ok(shard) = path.parse::<TenantShardId>("tenant_shard_id") {
        auth::tenant(request.extensions().get::<Claims>(), shard.tenant_id)?;
    }
    Ok(next.run(request).await)
}

fn method_name(method: MethodFilter) -> &'static str {
    match method {
        MethodFilter::PUT => "put",
        MethodFilter::POST => "post",
        MethodFilter::DELETE => "delete",
        _ => "get",
    }
}
