//! Commands that answer with a row.

use postgres_backend::{PostgresBackend, QueryError};
use pq_proto::{BeMessage, RowDescriptor};
use utils::TenantTimelineId;

use super::refusal::query_error;
use crate::timeline::TimelineError;
use crate::timelines::Timelines;
use crate::wal_storage::SEGMENT_SIZE;

/// What psycopg2 sets on connecting has no meaning here.
pub fn acknowledge_setting(pgb: &mut PostgresBackend) -> Result<(), QueryError> {
    pgb.write_message(&BeMessage::CommandComplete("SELECT 1"))?;
    Ok(())
}

/// `IDENTIFY_SYSTEM`. Those who recover WAL see everything durable, others what is committed.
pub async fn identify_system(
    pgb: &mut PostgresBackend,
    timelines: &Timelines,
    ttid: TenantTimelineId,
    appname: Option<&str>,
) -> Result<(), QueryError> {
    let timeline = timelines.get(ttid).map_err(query_error)?;
    let recovers = appname
        .is_some_and(|name| name == "wal_proposer_recovery" || name.starts_with("safekeeper"));
    let (position, system_id) = {
        let state = timeline.read().await;
        let position = if recovers { state.flush_lsn() } else { state.commit_lsn() };
        (position.to_string(), state.control().server.system_id.to_string())
    };
    let columns = [
        RowDescriptor::text("systemid"),
        RowDescriptor::int4("timeline"),
        RowDescriptor::text("xlogpos"),
        RowDescriptor::text("dbname"),
    ];
    pgb.write_message(&BeMessage::RowDescription(&columns))?
        .write_message(&BeMessage::DataRow(&[
            Some(system_id.as_bytes()),
            Some(b"1"),
            Some(position.as_bytes()),
            None,
        ]))?
        .write_message(&BeMessage::CommandComplete("IDENTIFY_SYSTEM"))?;
    Ok(())
}

/// `TIMELINE_STATUS`: one row of positions, or none if the timeline is unknown.
pub async fn timeline_status(
    pgb: &mut PostgresBackend,
    timelines: &Timelines,
    ttid: TenantTimelineId,
) -> Result<(), QueryError> {
    let positions = match timelines.get(ttid) {
        Ok(timeline) => {
            let state = timeline.read().await;
            Some((state.flush_lsn().to_string(), state.commit_lsn().to_string()))
        }
        Err(TimelineError::NotFound(_)) => None,
        Err(error) => return Err(query_error(error)),
    };
    let columns = [RowDescriptor::text("flush_lsn"), RowDescriptor::text("commit_lsn")];
    pgb.write_message(&BeMessage::RowDescription(&columns))?;
    if let Some((flush_lsn, commit_lsn)) = positions {
        let row = [Some(flush_lsn.as_bytes()), Some(commit_lsn.as_bytes())];
        pgb.write_message(&BeMessage::DataRow(&row))?;
    }
    pgb.write_message(&BeMessage::CommandComplete("TIMELINE_STATUS"))?;
    Ok(())
}

/// `SHOW`: the settings that stock replication clients insist on.
pub fn show(pgb: &mut PostgresBackend, setting: &str) -> Result<(), QueryError> {
    let segment_size = format!("{}MB", SEGMENT_SIZE / (1024 * 1024));
    let value = match setting {
        "wal_segment_size" => segment_size.as_str(),
        "data_directory_mode" => "0700",
        other => {
            return Err(anyhow::anyhow!("unrecognized configuration parameter {other:?}").into());
        }
    };
    pgb.write_message(&BeMessage::RowDescription(&[RowDescriptor::text(setting)]))?
        .write_message(&BeMessage::DataRow(&[Some(value.as_bytes())]))?
        .write_message(&BeMessage::CommandComplete("SHOW"))?;
    Ok(())
}

/// `TIMELINE_HISTORY`: timeline 1 is the only one, and it has no history file.
pub fn timeline_history() -> Result<(), QueryError> {
    Err(anyhow::anyhow!("there is no timeline history: the timeline is always 1").into())
}
