//! One connection to the WAL service: who it is, and the commands it gives.

use std::net::SocketAddr;
use std::sync::Arc;

use postgres_backend::{Handler, PostgresBackend, QueryError};
use pq_proto::StartupParameters;
use utils::auth::{Claims, Scope, SharedJwtAuth};
use utils::{TenantId, TenantTimelineId, TimelineId};

use super::command::Command;
use super::refusal::query_error;
use super::traffic::Traffic;
use super::{json_ctrl, replies};
use crate::auth;
use crate::metrics::QueryGuard;
use crate::timelines::Timelines;

/// How tokens are checked on a listener.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    /// Keys to check tokens with; `None` lets everybody in.
    pub keys: Option<SharedJwtAuth>,
    /// Refuse tokens that are good for more than one tenant.
    pub tenant_only: bool,
}

/// State of one connection.
#[derive(Debug)]
pub struct SafekeeperHandler {
    pub(super) timelines: Arc<Timelines>,
    policy: TokenPolicy,
    pub(super) conn_id: u32,
    pub(super) peer: SocketAddr,
    tenant_id: Option<TenantId>,
    timeline_id: Option<TimelineId>,
    pub(super) appname: Option<String>,
    pub(super) traffic: Traffic,
    claims: Option<Claims>,
}

impl SafekeeperHandler {
    /// A connection that has not said anything yet.
    pub fn new(
        timelines: Arc<Timelines>,
        policy: TokenPolicy,
        conn_id: u32,
        peer: SocketAddr,
    ) -> Self {
        Self {
            timelines,
            policy,
            conn_id,
            peer,
            tenant_id: None,
            timeline_id: None,
            appname: None,
            traffic: Traffic::new(None, None, None),
            claims: None,
        }
    }

    /// The timeline of the connection, if the client named it and may use it.
    fn authorised_ttid(&self) -> Result<TenantTimelineId, QueryError> {
        let required = |what| QueryError::Other(anyhow::anyhow!("{what} is required"));
        let tenant_id = self.tenant_id.ok_or_else(|| required("tenantid"))?;
        let timeline_id = self.timeline_id.ok_or_else(|| required("timelineid"))?;
        auth::check_tenant(self.claims.as_ref(), tenant_id)
            .map_err(|error| QueryError::Unauthorized(error.to_string().into()))?;
        Ok(TenantTimelineId::new(tenant_id, timeline_id))
    }

    fn apply_options(&mut self, options: &[String]) -> Result<Option<String>, QueryError> {
        let mut availability_zone = None;
        for option in options {
            match option.split_once('=') {
                Some(("tenant_id" | "ztenantid", value)) => {
                    self.tenant_id = Some(value.parse().map_err(query_error)?);
                }
                Some(("timeline_id" | "ztimelineid", value)) => {
                    self.timeline_id = Some(value.parse().map_err(query_error)?);
                }
                Some(("availability_zone", value)) => availability_zone = Some(value.to_owned()),
                // Other settings, and the `-c` in front of each, are for PostgreSQL servers.
                Some(_) | None => {}
            }
        }
        Ok(availability_zone)
    }

    fn record_span(&self) {
        let span = tracing::Span::current();
        if let (Some(tenant_id), Some(timeline_id)) = (self.tenant_id, self.timeline_id) {
            let ttid = TenantTimelineId::new(tenant_id, timeline_id);
            span.record("ttid", tracing::field::display(ttid));
        }
        if let Some(appname) = &self.appname {
            span.record("application_name", appname.as_str());
        }
    }
}

impl Handler for SafekeeperHandler {
    async fn startup(
        &mut self,
        _pgb: &mut PostgresBackend,
        parameters: &StartupParameters,
    ) -> Result<(), QueryError> {
        let availability_zone = self.apply_options(&parameters.options())?;
        self.appname = parameters.get("application_name").map(str::to_owned);
        let own_zone = self.timelines.config().availability_zone.as_deref();
        self.traffic =
            Traffic::new(availability_zone.as_deref(), own_zone, self.appname.as_deref());
        self.record_span();
        Ok(())
    }

    async fn check_auth(
        &mut self,
        _pgb: &mut PostgresBackend,
        token: &[u8],
    ) -> Result<(), QueryError> {
        let refused = |reason: String| QueryError::Unauthorized(reason.into());
        let Some(keys) = &self.policy.keys else {
            return Err(refused("this listener has no keys to check tokens with".to_owned()));
        };
        let token =
            std::str::from_utf8(token).map_err(|_| refused("the token is not text".to_owned()))?;
        let claims = keys.decode(token).map_err(|error| refused(error.to_string()))?;
        if self.policy.tenant_only && claims.scope != Scope::Tenant {
            let scope = claims.scope;
            return Err(refused(format!("scope {scope:?} on a listener for tenant tokens only")));
        }
        if claims.scope == Scope::Tenant && claims.tenant_id.is_none() {
            return Err(refused("the token has scope tenant but names no tenant".to_owned()));
        }
        self.claims = Some(claims);
        Ok(())
    }

    async fn process_query(
        &mut self,
        pgb: &mut PostgresBackend,
        query: &str,
    ) -> Result<(), QueryError> {
        if query.get(..17).is_some_and(|q| q.eq_ignore_ascii_case("set datestyle to ")) {
            return replies::acknowledge_setting(pgb);
        }
        let command: Command = query.parse().map_err(query_error)?;
        let _counted = command.metric_label().map(QueryGuard::begin);
        let ttid = self.authorised_ttid()?;
        tracing::debug!("got query {query:?} for timeline {ttid}");
        match command {
            Command::StartWalPush => self.receive_wal(pgb, ttid).await,
            Command::StartReplication { start, term } => {
                self.send_wal(pgb, ttid, start, term).await
            }
            Command::IdentifySystem => {
                replies::identify_system(pgb, &self.timelines, ttid, self.appname.as_deref()).await
            }
            Command::TimelineStatus => replies::timeline_status(pgb, &self.timelines, ttid).await,
            Command::JsonCtrl(json) => json_ctrl::run(pgb, &self.timelines, ttid, &json).await,
            Command::Show(setting) => replies::show(pgb, &setting),
            Command::TimelineHistory => replies::timeline_history(),
        }
    }
}
