//! What a timeline has in memory.

use std::sync::Arc;
use std::time::Instant;

use safekeeper_api::models::WalSenderState;
use serde::Serialize;
use utils::Lsn;
use wal_quorum::state::MemoryState;
use wal_quorum::storage::WalStorage;

use crate::timeline::Timeline;
use crate::timeline::manager::ManagerStatus;
use crate::timeline::state::FileAcceptor;

#[derive(Serialize)]
pub(super) struct Memory {
    is_cancelled: bool,
    peers_info_len: usize,
    walsenders: Vec<WalSenderState>,
    wal_backup_active: bool,
    active: bool,
    num_computes: usize,
    last_removed_segno: u64,
    epoch_start_lsn: Lsn,
    mem_state: MemoryState,
    mgr_status: ManagerStatus,
    write_lsn: Lsn,
    write_record_lsn: Lsn,
    flush_lsn: Lsn,
    file_open: bool,
}

impl Memory {
    pub(super) async fn of(timeline: &Arc<Timeline>) -> Self {
        let walsenders = timeline.sender_states();
        let state = timeline.read().await;
        let wal = state.acceptor().map(FileAcceptor::wal);
        let flush_lsn = state.flush_lsn();
        let timeout = timeline.config().heartbeat_timeout;
        Self {
            is_cancelled: timeline.cancellation().is_cancelled(),
            peers_info_len: state.peers.alive(Instant::now(), timeout).len(),
            walsenders,
            wal_backup_active: timeline.is_archiving(),
            active: timeline.is_active(),
            num_computes: timeline.receivers().count(),
            last_removed_segno: timeline.last_removed_segno(),
            epoch_start_lsn: state.term_start_lsn(),
            mem_state: state.control().memory,
            mgr_status: timeline.manager_status(),
            // Offloaded WAL ends where it is durable.
            write_lsn: wal.map_or(flush_lsn, WalStorage::write_lsn),
            write_record_lsn: wal.map_or(flush_lsn, WalStorage::write_record_lsn),
            flush_lsn,
            file_open: wal.is_some_and(|wal| wal.has_open_segment()),
        }
    }
}
