//! The debug dump.

use axum::extract::State;
use axum::response::Response;
use http_server::ApiError;
use http_server::extract::{NoBody, QueryParams};
use tokio::sync::mpsc;

use super::timeline::Shared;
use super::transfer::streamed;
use crate::debug_dump::{self, DumpOptions};

const QUEUE_SIZE: usize = 4;

const PARAMETERS: [&str; 7] = [
    "dump_all",
    "dump_control_file",
    "dump_memory",
    "dump_disk_content",
    "dump_term_history",
    "tenant_id",
    "timeline_id",
];

pub(super) async fn dump(
    State(timelines): Shared,
    query: QueryParams,
    _: NoBody,
) -> Result<Response, ApiError> {
    let options = parse(&query)?;
    let (pieces, receiver) = mpsc::channel(QUEUE_SIZE);
    tokio::spawn(debug_dump::send(timelines, options, pieces));
    Ok(streamed(receiver))
}

fn parse(query: &QueryParams) -> Result<DumpOptions, ApiError> {
    if let Some(name) = query.names().find(|name| !PARAMETERS.contains(name)) {
        let known = PARAMETERS.join(", ");
        return Err(ApiError::bad_request(format!("unknown parameter {name}, known are {known}")));
    }
    let all = query.parse("dump_all")?.unwrap_or(false);
    Ok(DumpOptions {
        control_file: query.parse("dump_control_file")?.unwrap_or(all),
        memory: query.parse("dump_memory")?.unwrap_or(all),
        disk_content: query.parse("dump_disk_content")?.unwrap_or(all),
        term_history: query.parse("dump_term_history")?.unwrap_or(true),
        tenant_id: query.parse("tenant_id")?,
        timeline_id: query.parse("timeline_id")?,
    })
}
