//! Layouts of control files older than the current ones, each converted to the
//! present structure while it is read.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use utils::{Lsn, TenantId, TenantTimelineId, TimelineId};

use super::codec::{
    ControlFileError, read_acceptor_state, read_hex, read_history, read_peers, read_server, read_v7,
};
use super::{AcceptorState, ControlFile, ProposerUuid, ServerInfo};
use crate::term_history::{TermHistory, TermLsn};
use crate::wire::Reader;

/// Version assumed where the file says 0.
const UNKNOWN_PG_VERSION: u32 = 140_005;

/// Version 1: one epoch instead of a history.
pub(super) fn read_v1(reader: &mut Reader) -> Result<ControlFile, ControlFileError> {
    let term = reader.u64("term")?;
    let epoch = reader.u64("epoch")?;
    let term_history = TermHistory(vec![TermLsn { term: epoch, lsn: Lsn::INVALID }]);
    read_after_acceptor_state(reader, AcceptorState { term, term_history }, IdForm::Raw)
}

/// Version 2: ids as raw bytes.
pub(super) fn read_v2(reader: &mut Reader) -> Result<ControlFile, ControlFileError> {
    let acceptor_state =
        AcceptorState { term: reader.u64("term")?, term_history: read_history(reader)? };
    read_after_acceptor_state(reader, acceptor_state, IdForm::Raw)
}

/// Version 3: ids as hexadecimal text.
pub(super) fn read_v3(reader: &mut Reader) -> Result<ControlFile, ControlFileError> {
    let acceptor_state = read_acceptor_state(reader)?;
    read_after_acceptor_state(reader, acceptor_state, IdForm::Hex)
}

#[derive(Clone, Copy)]
enum IdForm {
    Raw,
    Hex,
}

/// What versions 1 to 3 share: the server with the ids inside, the proposer,
/// and three positions.
fn read_after_acceptor_state(
    reader: &mut Reader,
    acceptor_state: AcceptorState,
    ids: IdForm,
) -> Result<ControlFile, ControlFileError> {
    let pg_version = reader.u32("pg_version")?;
    let system_id = reader.u64("system_id")?;
    let (tenant_id, timeline_id) = match ids {
        IdForm::Raw => (
            TenantId::from_bytes(reader.array("tenant_id")?),
            TimelineId::from_bytes(reader.array("timeline_id")?),
        ),
        IdForm::Hex => (read_hex(reader, "tenant_id")?, read_hex(reader, "timeline_id")?),
    };
    let wal_seg_size = reader.u32("wal_seg_size")?;
    let proposer_uuid = match ids {
        IdForm::Raw => ProposerUuid(reader.array("proposer_uuid")?),
        IdForm::Hex => read_hex(reader, "proposer_uuid")?,
    };
    let commit_lsn = reader.lsn("commit_lsn")?;
    let truncate_lsn = reader.lsn("truncate_lsn")?;
    reader.lsn("wal_start_lsn")?;
    let server = ServerInfo { pg_version, system_id, wal_seg_size };
    let ttid = TenantTimelineId::new(tenant_id, timeline_id);
    let mut state = ControlFile::new(ttid, server, commit_lsn, Lsn::INVALID);
    state.acceptor_state = acceptor_state;
    state.proposer_uuid = proposer_uuid;
    state.peer_horizon_lsn = truncate_lsn;
    Ok(state)
}

/// Version 4: one archive position and peers, both of which meant something else.
pub(super) fn read_v4(reader: &mut Reader) -> Result<ControlFile, ControlFileError> {
    let tenant_id = read_hex(reader, "tenant_id")?;
    let timeline_id = read_hex(reader, "timeline_id")?;
    let acceptor_state = read_acceptor_state(reader)?;
    let server = read_server(reader)?;
    let proposer_uuid = read_hex(reader, "proposer_uuid")?;
    let commit_lsn = reader.lsn("commit_lsn")?;
    reader.lsn("s3_wal_lsn")?;
    let peer_horizon_lsn = reader.lsn("peer_horizon_lsn")?;
    reader.lsn("remote_consistent_lsn")?;
    read_peers(reader)?;
    let ttid = TenantTimelineId::new(tenant_id, timeline_id);
    let mut state = ControlFile::new(ttid, server, commit_lsn, Lsn::INVALID);
    state.acceptor_state = acceptor_state;
    state.proposer_uuid = proposer_uuid;
    state.peer_horizon_lsn = peer_horizon_lsn;
    Ok(state)
}

/// Version 5: the start of the timeline may be unknown. Position 1 says
/// "before everything" and, unlike 0, "initialised".
pub(super) fn read_v5(reader: &mut Reader) -> Result<ControlFile, ControlFileError> {
    let mut state = read_v7(reader)?;
    if state.timeline_start_lsn == Lsn::INVALID {
        state.timeline_start_lsn = Lsn(1);
        state.local_start_lsn = Lsn(1);
    }
    Ok(state)
}

/// Version 6: the server's version may be unknown.
pub(super) fn read_v6(reader: &mut Reader) -> Result<ControlFile, ControlFileError> {
    let mut state = read_v7(reader)?;
    if state.server.pg_version == 0 {
        state.server.pg_version = UNKNOWN_PG_VERSION;
    }
    Ok(state)
}
