//! `JSON_CTRL`: appends one record by hand, so that tests can craft the WAL of a safekeeper.
//!
//! Plays the part of a proposer without an election. Not for production use.

use anyhow::Context;
use postgres_backend::{PostgresBackend, QueryError};
use postgres_ffi::xlog::RawRecord;
use pq_proto::{BeMessage, RowDescriptor};
use serde::{Deserialize, Serialize};
use utils::{Lsn, TenantTimelineId};
use wal_quorum::control_file::{ControlFile, ServerInfo};
use wal_quorum::messages::{
    AcceptorMessage, AppendRequest, AppendRequestHeader, HotStandbyFeedback, ProposerElected,
    ProposerMessage, ProposerUuid,
};
use wal_quorum::{Term, TermHistory, TermLsn};

use crate::timeline::Timeline;
use crate::timelines::{NewTimeline, Timelines};
use crate::wal_storage::SEGMENT_SIZE;

/// The record's main data has one byte for its length.
const MAX_MAIN_DATA_BYTES: usize = 255;
/// Database, transactional flag and two lengths in front of the prefix.
const LOGICAL_MESSAGE_HEADER_BYTES: usize = 24;

#[derive(Debug, Deserialize)]
struct Request {
    lm_prefix: String,
    lm_message: String,
    set_commit_lsn: bool,
    send_proposer_elected: bool,
    term: Term,
    // Positions are plain integers here, unlike everywhere else.
    epoch_start_lsn: u64,
    begin_lsn: u64,
    truncate_lsn: u64,
    pg_version: u32,
}

#[derive(Debug, Serialize)]
struct Response {
    state: ControlFile,
    inserted_wal: InsertedWal,
}

#[derive(Debug, Serialize)]
struct InsertedWal {
    begin_lsn: Lsn,
    end_lsn: Lsn,
    append_response: AppendOutcome,
}

#[derive(Debug, Serialize)]
struct AppendOutcome {
    term: Term,
    flush_lsn: Lsn,
    commit_lsn: Lsn,
    hs_feedback: HotStandbyFeedback,
    pageserver_feedback: Option<()>,
}

/// Runs the command and answers with one JSON column.
pub async fn run(
    pgb: &mut PostgresBackend,
    timelines: &Timelines,
    ttid: TenantTimelineId,
    json: &str,
) -> Result<(), QueryError> {
    let request: Request = serde_json::from_str(json).context("cannot parse JSON_CTRL request")?;
    let response = append(timelines, ttid, &request).await?;
    let text = serde_json::to_string(&response).context("cannot serialise the response")?;
    pgb.write_message(&BeMessage::RowDescription(&[RowDescriptor::text("json")]))?
        .write_message(&BeMessage::DataRow(&[Some(text.as_bytes())]))?
        .write_message(&BeMessage::CommandComplete("JSON_CTRL"))?;
    Ok(())
}

async fn append(
    timelines: &Timelines,
    ttid: TenantTimelineId,
    request: &Request,
) -> anyhow::Result<Response> {
    let main_data =
        LOGICAL_MESSAGE_HEADER_BYTES + request.lm_prefix.len() + 1 + request.lm_message.len();
    anyhow::ensure!(
        main_data <= MAX_MAIN_DATA_BYTES,
        "lm_prefix and lm_message make {main_data} bytes of main data, at most {MAX_MAIN_DATA_BYTES} fit"
    );
    let server = ServerInfo {
        pg_version: request.pg_version,
        system_id: 0,
        wal_seg_size: SEGMENT_SIZE as u32,
    };
    let new = NewTimeline { ttid, server, commit_lsn: Lsn::INVALID, local_start_lsn: Lsn::INVALID };
    let timeline = timelines.get_or_create(new).await?.resident().await?;
    if request.send_proposer_elected {
        announce(&timeline, request).await?;
    }
    let inserted_wal = insert(&timeline, request).await?;
    let state = timeline.read().await.control().persistent().clone();
    Ok(Response { state, inserted_wal })
}

async fn announce(timeline: &Timeline, request: &Request) -> anyhow::Result<()> {
    anyhow::ensure!(request.epoch_start_lsn > 0, "epoch_start_lsn must be above 0");
    let start = Lsn(request.epoch_start_lsn);
    let own_history = timeline.read().await.control().acceptor_state.term_history.clone();
    let mut entries: Vec<TermLsn> =
        own_history.0.into_iter().take_while(|entry| entry.lsn < start).collect();
    entries.push(TermLsn { term: request.term, lsn: start });
    let elected = ProposerElected {
        term: request.term,
        start_streaming_at: start,
        term_history: TermHistory(entries),
        timeline_start_lsn: start,
    };
    timeline.process(ProposerMessage::Elected(elected)).await?;
    Ok(())
}

async fn insert(timeline: &Timeline, request: &Request) -> anyhow::Result<InsertedWal> {
    let record = RawRecord::logical_message(&request.lm_prefix, request.lm_message.as_bytes());
    let mut wal = record.to_bytes(Lsn::INVALID);
    wal.resize(wal.len().next_multiple_of(8), 0);
    let begin_lsn = Lsn(request.begin_lsn);
    let end_lsn = begin_lsn + wal.len() as u64;
    let commit_lsn = match request.set_commit_lsn {
        true => end_lsn,
        false => timeline.read().await.control().commit_lsn,
    };
    let header = AppendRequestHeader {
        term: request.term,
        term_start_lsn: Lsn(request.epoch_start_lsn),
        begin_lsn,
        end_lsn,
        commit_lsn,
        truncate_lsn: Lsn(request.truncate_lsn),
        proposer_uuid: ProposerUuid::default(),
    };
    let message = ProposerMessage::AppendRequest(AppendRequest { header, wal: wal.into() });
    match timeline.process(message).await? {
        Some(AcceptorMessage::AppendResponse(response)) => Ok(InsertedWal {
            begin_lsn,
            end_lsn,
            append_response: AppendOutcome {
                term: response.term,
                flush_lsn: response.flush_lsn,
                commit_lsn: response.commit_lsn,
                hs_feedback: response.hs_feedback,
                pageserver_feedback: None,
            },
        }),
        other => anyhow::bail!("the acceptor answered an append with {other:?}"),
    }
}
