//! Commands about a tenant or timeline that answer with one row.

use std::time::{Duration, UNIX_EPOCH};

use pageserver_api::TenantShardId;
use postgres_backend::{BeMessage, PostgresBackend, QueryError, RowDescriptor};
use utils::{Lsn, TenantId, TimelineId};

use super::directory::{
    ServedTimeline, ShardSelector, TenantSettings, TimelineDirectory, WaitError,
};
use super::handler::PageServiceHandler;
use crate::keymap::Keymap;

/// How long a question for the last record waits for the position it names. Short enough for
/// the client to tell people how things get on.
const POSITION_WAIT: Duration = Duration::from_secs(5);

fn write_text_row(
    pgb: &mut PostgresBackend,
    columns: &[RowDescriptor],
    values: &[String],
) -> Result<(), QueryError> {
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_bytes())).collect();
    pgb.write_message(&BeMessage::RowDescription(columns))?;
    pgb.write_message(&BeMessage::DataRow(&values))?;
    Ok(())
}

/// Names and values of what `show` reports.
fn shown(settings: &TenantSettings) -> [(&'static str, u64); 9] {
    [
        ("checkpoint_distance", settings.checkpoint_distance),
        ("checkpoint_timeout", settings.checkpoint_timeout.as_secs()),
        ("compaction_target_size", settings.compaction_target_size),
        ("compaction_period", settings.compaction_period.as_secs()),
        ("compaction_threshold", settings.compaction_threshold),
        ("gc_horizon", settings.gc_horizon),
        ("gc_period", settings.gc_period.as_secs()),
        ("image_creation_threshold", settings.image_creation_threshold),
        ("pitr_interval", settings.pitr_interval.as_secs()),
    ]
}

impl<D: TimelineDirectory> PageServiceHandler<D> {
    pub(super) async fn handle_show(
        &mut self,
        pgb: &mut PostgresBackend,
        tenant: TenantId,
    ) -> Result<(), QueryError> {
        let settings = shown(&self.directory().settings(tenant).await?);
        let columns = settings.map(|(name, _)| RowDescriptor::int8(name));
        let values = settings.map(|(_, value)| value.to_string());
        write_text_row(pgb, &columns, &values)
    }

    /// The expiry travels as 16 raw bytes: milliseconds since 1970.
    pub(super) async fn handle_lease_lsn(
        &mut self,
        pgb: &mut PostgresBackend,
        shard: TenantShardId,
        timeline_id: TimelineId,
        lsn: Lsn,
    ) -> Result<(), QueryError> {
        let valid_until = match self.lease_lsn(shard, timeline_id, lsn).await {
            Ok(valid_until) => valid_until,
            Err(error) => {
                let sqlstate = error.sqlstate();
                let message = match &error {
                    // The client may know what is missing, unlike for other commands.
                    QueryError::NotFound(what) => format!("Not found: {what}"),
                    other => other.to_string(),
                };
                let chain = anyhow::Error::new(error);
                tracing::error!("error obtaining lsn lease for {lsn}: {chain:#}");
                pgb.write_message(&BeMessage::ErrorResponse { sqlstate, message: &message })?;
                return Ok(());
            }
        };
        let columns = [RowDescriptor::text("valid_until")];
        pgb.write_message(&BeMessage::RowDescription(&columns))?;
        pgb.write_message(&BeMessage::DataRow(&[Some(valid_until.to_be_bytes().as_slice())]))?;
        // Clients expect the completion of the statement and that of the command.
        pgb.write_message(&BeMessage::CommandComplete("SELECT 1"))?;
        Ok(())
    }

    async fn lease_lsn(
        &mut self,
        shard: TenantShardId,
        timeline_id: TimelineId,
        lsn: Lsn,
    ) -> Result<u128, QueryError> {
        let selector = ShardSelector::Known(shard.to_index());
        let timeline = self.resolve(shard.tenant_id, selector, timeline_id).await?;
        let until = timeline.lease_lsn(lsn).map_err(|error| QueryError::Other(error.into()))?;
        let since_epoch = until
            .duration_since(UNIX_EPOCH)
            .map_err(|error| QueryError::Other(anyhow::Error::new(error)))?;
        Ok(since_epoch.as_millis())
    }

    /// A client that needs `awaited` must be seen to wait for it: without anybody who waits,
    /// nobody looks for safekeepers that do not speak of the timeline by themselves.
    pub(super) async fn handle_last_record(
        &mut self,
        pgb: &mut PostgresBackend,
        (tenant, timeline_id): (TenantId, TimelineId),
        awaited: Option<Lsn>,
    ) -> Result<(), QueryError> {
        let timeline = self.resolve(tenant, ShardSelector::Zero, timeline_id).await?;
        if let Some(lsn) = awaited {
            // Cancel safe: a dropped wait leaves nothing behind. When the time is over, the
            // answer says how far the timeline has come.
            match tokio::time::timeout(POSITION_WAIT, timeline.wait_lsn(lsn)).await {
                Ok(Ok(()) | Err(WaitError::Timeout(_))) | Err(_) => {}
                Ok(Err(error)) => return Err(error.into()),
            }
        }
        let record = timeline.last_record();
        let columns = [RowDescriptor::text("prev_lsn"), RowDescriptor::text("last_lsn")];
        write_text_row(pgb, &columns, &[record.prev.to_string(), record.last.to_string()])
    }

    pub(super) async fn handle_checkpoint(
        &mut self,
        pgb: &mut PostgresBackend,
        tenant: TenantId,
        timeline_id: TimelineId,
    ) -> Result<(), QueryError> {
        let timeline = self.resolve(tenant, ShardSelector::Zero, timeline_id).await?;
        let last = timeline.last_record().last;
        let checkpoint = Keymap::at(timeline.as_ref(), last)
            .checkpoint()
            .await
            .map_err(|error| QueryError::Other(error.into()))?;
        let columns = [RowDescriptor::text("redo"), RowDescriptor::text("last_lsn")];
        write_text_row(pgb, &columns, &[checkpoint.redo.to_string(), last.to_string()])
    }
}
