//! One connection: who the client is, the commands it sends, and the timelines it has touched.

use std::sync::Arc;

use pageserver_api::shard::ShardIndex;
use postgres_backend::{BeMessage, Handler, PostgresBackend, QueryError, StartupParameters};
use tokio_util::sync::CancellationToken;
use utils::auth::{Claims, Scope, SharedJwtAuth};
use utils::{TenantId, TimelineId};

use super::command::Command;
use super::directory::{LookupError, ServedTimeline, ShardSelector, TimelineDirectory};
use super::metrics::METRICS;

/// A timeline that the connection uses, kept from being torn down under it.
pub(super) struct HeldTimeline<T: ServedTimeline> {
    pub id: (TenantId, TimelineId),
    pub shard: ShardIndex,
    pub timeline: Arc<T>,
    _guard: T::Guard,
}

/// The commands of one connection.
pub(super) struct PageServiceHandler<D: TimelineDirectory> {
    directory: Arc<D>,
    auth: Option<Arc<SharedJwtAuth>>,
    claims: Option<Claims>,
    held: Vec<HeldTimeline<D::Timeline>>,
    cancel: CancellationToken,
}

impl From<LookupError> for QueryError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::NotFound(text) => QueryError::NotFound(text.into()),
            LookupError::Timeout(text) => {
                std::io::Error::new(std::io::ErrorKind::TimedOut, text).into()
            }
            LookupError::ShuttingDown => QueryError::Shutdown,
            LookupError::Broken(text) => QueryError::Other(anyhow::anyhow!(text)),
        }
    }
}

impl<D: TimelineDirectory> PageServiceHandler<D> {
    pub(super) fn new(
        directory: Arc<D>,
        auth: Option<Arc<SharedJwtAuth>>,
        cancel: CancellationToken,
    ) -> Self {
        PageServiceHandler { directory, auth, claims: None, held: Vec::new(), cancel }
    }

    pub(super) fn directory(&self) -> &D {
        &self.directory
    }

    /// Fires when the connection is to end.
    pub(super) fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The timelines of this id that the connection has touched.
    pub(super) fn held(&self, id: (TenantId, TimelineId)) -> &[HeldTimeline<D::Timeline>] {
        // Commands of one session name one timeline; the first use of another drops the rest.
        match self.held.first() {
            Some(first) if first.id == id => &self.held,
            Some(_) | None => &[],
        }
    }

    /// Finds a timeline and holds on to it for the rest of the connection.
    pub(super) async fn resolve(
        &mut self,
        tenant: TenantId,
        selector: ShardSelector,
        timeline_id: TimelineId,
    ) -> Result<Arc<D::Timeline>, LookupError> {
        let id = (tenant, timeline_id);
        let timeline = self.directory.timeline(tenant, selector, timeline_id).await?;
        let shard = timeline.shard_identity().shard_index();
        if self.held.first().is_some_and(|held| held.id != id) {
            self.held.clear();
        }
        // The same shard may be a new object after its tenant was attached again.
        self.held.retain(|held| held.shard != shard);
        let guard = timeline.enter().ok_or(LookupError::ShuttingDown)?;
        self.held.push(HeldTimeline { id, shard, timeline: timeline.clone(), _guard: guard });
        Ok(timeline)
    }

    fn check_permission(&self, command: &Command) -> Result<(), QueryError> {
        let (Some(_), Some(tenant)) = (&self.auth, command.tenant()) else { return Ok(()) };
        let Some(claims) = &self.claims else {
            return Err(QueryError::Unauthorized("the client sent no token".into()));
        };
        match claims.scope {
            Scope::Tenant if claims.tenant_id == Some(tenant) => Ok(()),
            Scope::Tenant => {
                Err(QueryError::Unauthorized("Tenant id mismatch. Permission denied".into()))
            }
            Scope::PageServerApi => Ok(()),
            other => Err(QueryError::Unauthorized(
                format!("JWT scope '{other:?}' is ineligible for Pageserver auth").into(),
            )),
        }
    }

    async fn run(&mut self, pgb: &mut PostgresBackend, command: Command) -> Result<(), QueryError> {
        match command {
            Command::Set => {}
            // The session ends inside the COPY stream; nothing follows it.
            Command::Pagestream { version, tenant, timeline } => {
                return self.handle_pagestream(pgb, version, tenant, timeline).await;
            }
            Command::Basebackup { tenant, timeline, lsn, gzip } => {
                self.handle_basebackup(pgb, (tenant, timeline), lsn, gzip).await?;
            }
            Command::Fullbackup { tenant, timeline, lsn, prev } => {
                self.handle_fullbackup(pgb, (tenant, timeline), lsn, prev).await?;
            }
            Command::LeaseLsn { shard, timeline, lsn } => {
                self.handle_lease_lsn(pgb, shard, timeline, lsn).await?;
            }
            Command::ImportBasebackup { tenant, timeline, base_lsn, end_lsn, major } => {
                let range = (base_lsn, end_lsn);
                self.handle_import_basebackup(pgb, (tenant, timeline), range, major).await?;
            }
            Command::ImportWal { tenant, timeline, start_lsn, end_lsn } => {
                self.handle_import_wal(pgb, (tenant, timeline), (start_lsn, end_lsn)).await?;
            }
            Command::Show { tenant } => self.handle_show(pgb, tenant).await?,
            Command::GetLastRecordRlsn { tenant, timeline, awaited } => {
                self.handle_last_record(pgb, (tenant, timeline), awaited).await?;
            }
            Command::GetCheckpoint { tenant, timeline } => {
                self.handle_checkpoint(pgb, tenant, timeline).await?;
            }
        }
        pgb.write_message(&BeMessage::CommandComplete("SELECT 1"))?;
        Ok(())
    }
}

impl<D: TimelineDirectory> Handler for PageServiceHandler<D> {
    async fn startup(
        &mut self,
        _: &mut PostgresBackend,
        _: &StartupParameters,
    ) -> Result<(), QueryError> {
        utils::pausable_failpoint!("ps::connection-start::startup-packet");
        Ok(())
    }

    async fn check_auth(
        &mut self,
        _: &mut PostgresBackend,
        token: &[u8],
    ) -> Result<(), QueryError> {
        let unauthorized = |text: String| QueryError::Unauthorized(text.into());
        let auth = self.auth.as_ref().ok_or_else(|| {
            unauthorized("tokens are required, but no key to check them is configured".to_owned())
        })?;
        let token = std::str::from_utf8(token)
            .map_err(|_| unauthorized("the token is not UTF-8".to_owned()))?;
        let claims = auth.decode(token).map_err(|error| unauthorized(error.to_string()))?;
        if claims.scope == Scope::Tenant && claims.tenant_id.is_none() {
            let text = "jwt token scope is Tenant, but tenant id is missing";
            return Err(unauthorized(text.to_owned()));
        }
        tracing::debug!("jwt scope check succeeded: {:?} {:?}", claims.scope, claims.tenant_id);
        self.claims = Some(claims);
        Ok(())
    }

    async fn process_query(
        &mut self,
        pgb: &mut PostgresBackend,
        query: &str,
    ) -> Result<(), QueryError> {
        fail::fail_point!("simulated-bad-compute-connection", |_| Err(QueryError::Simulated));
        utils::pausable_failpoint!("ps::connection-start::process-query");
        tracing::debug!("process query {query:?}");
        let command = Command::parse(query).map_err(|error| QueryError::Other(error.into()))?;
        if let (Some(metrics), Some(label)) = (METRICS.as_ref(), command.label()) {
            metrics.commands.with_label_values(&[label]).inc();
        }
        self.check_permission(&command)?;
        self.run(pgb, command).await
    }
}
