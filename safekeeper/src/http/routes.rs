//! The table of routes: method, path and who may use it, in one place.
//!
//! The router is made from this table, so that no route can be without a check.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http_server::ApiError;
use http_server::extract::PathParams;
use utils::auth::Claims;

use super::{debug, forbidden, status, timeline, transfer};
use crate::auth;
use crate::timelines::Timelines;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Holders of a management token.
    Node,
    /// Holders of a management token, or of a token of the tenant in the path.
    Tenant,
    /// The same, but the tenant is in the body: the handler checks.
    TenantInBody,
}

/// A route, for tests and people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
}

/// Routes being collected.
struct Routes {
    router: Router<Arc<Timelines>>,
    table: Vec<Route>,
}

impl Routes {
    fn add<H, T>(
        mut self,
        method: MethodFilter,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Timelines>>,
        T: 'static,
    {
        let route = on(method, handler);
        let route = match access {
            Access::Open | Access::TenantInBody => route,
            Access::Node => route.layer(middleware::from_fn(require_node_token)),
            Access::Tenant => route.layer(middleware::from_fn(require_tenant_token)),
        };
        self.router = self.router.route(path, route);
        self.table.push(Route { method: method_name(method), path, access });
        self
    }
}

/// Every route of the management API, and its description.
pub fn all() -> (Router<Arc<Timelines>>, Vec<Route>) {
    const GET: MethodFilter = MethodFilter::GET;
    const POST: MethodFilter = MethodFilter::POST;
    const DELETE: MethodFilter = MethodFilter::DELETE;
    const TIMELINE: &str = "/v1/tenant/{tenant_id}/timeline/{timeline_id}";
    let routes = Routes { router: Router::new(), table: Vec::new() }
        .add(GET, "/v1/status", Access::Open, status)
        .add(POST, "/v1/tenant/timeline", Access::TenantInBody, timeline::create)
        .add(GET, TIMELINE, Access::Tenant, timeline::status)
        .add(DELETE, TIMELINE, Access::Tenant, timeline::delete)
        .add(DELETE, "/v1/tenant/{tenant_id}", Access::Tenant, timeline::delete_tenant)
        .add(
            POST,
            "/v1/tenant/{tenant_id}/timeline/{timeline_id}/checkpoint",
            Access::Node,
            timeline::checkpoint,
        )
        .add(
            POST,
            "/v1/record_safekeeper_info/{tenant_id}/{timeline_id}",
            Access::Tenant,
            timeline::record_safekeeper_info,
        )
        .add(
            MethodFilter::PATCH,
            "/v1/tenant/{tenant_id}/timeline/{timeline_id}/control_file",
            Access::Node,
            timeline::patch_control_file,
        )
        .add(
            GET,
            "/v1/tenant/{tenant_id}/timeline/{timeline_id}/snapshot",
            Access::Tenant,
            transfer::snapshot,
        )
        .add(
            POST,
            "/v1/tenant/{tenant_id}/timeline/{timeline_id}/copy",
            Access::Node,
            transfer::copy,
        )
        .add(
            GET,
            "/v1/tenant/{tenant_id}/timeline/{timeline_id}/digest",
            Access::Tenant,
            transfer::digest,
        )
        .add(POST, "/v1/pull_timeline", Access::Node, transfer::pull)
        .add(GET, "/v1/debug_dump", Access::Node, debug::dump);
    (routes.router, routes.table)
}

async fn require_node_token(request: Request, next: Next) -> Result<Response, ApiError> {
    // No claims means that tokens are not checked on this server.
    auth::check_node(request.extensions().get::<Claims>()).map_err(forbidden)?;
    Ok(next.run(request).await)
}

async fn require_tenant_token(
    path: PathParams,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let tenant_id = path.parse("tenant_id")?;
    auth::check_tenant(request.extensions().get::<Claims>(), tenant_id).map_err(forbidden)?;
    Ok(next.run(request).await)
}

fn method_name(method: MethodFilter) -> &'static str {
    match method {
        MethodFilter::POST => "POST",
        MethodFilter::DELETE => "DELETE",
        MethodFilter::PATCH => "PATCH",
        _ => "GET",
    }
}
