//! Files beside the relations: auxiliary files, prepared transactions, replication origins.

use bytes::{BufMut, BytesMut};
use postgres_ffi::PgMajor;
use tokio::io::AsyncWrite;
use utils::Lsn;

use crate::keymap::KeyReader;

use super::{Backup, BasebackupError, ContentError};

const REPLORIGIN_CHECKPOINT: &str = "pg_logical/replorigin_checkpoint";
const REPLORIGIN_MAGIC: u32 = 0x1257_DADE;
const SLOT_DIRECTORY: &str = "pg_replslot/";
/// Where a slot's state file says from where its WAL is needed.
const SLOT_RESTART_LSN_AT: usize = 96;

impl<R: KeyReader, W: AsyncWrite + Unpin + Send> Backup<'_, R, W> {
    /// Auxiliary files, and from where the WAL is needed by the slots among them.
    pub(super) async fn add_aux_files(&mut self) -> Result<(), BasebackupError> {
        let mut restart_lsn: Option<Lsn> = None;
        for (path, content) in self.keymap.aux_files().await? {
            if path == REPLORIGIN_CHECKPOINT {
                continue;
            }
            if path.starts_with(SLOT_DIRECTORY) {
                let length = content.len();
                let position = content
                    .get(SLOT_RESTART_LSN_AT..)
                    .and_then(|rest| rest.first_chunk::<8>())
                    .map(|bytes| Lsn(u64::from_le_bytes(*bytes)));
                let bad = || ContentError::SlotState { path: path.clone(), length };
                let position = position.ok_or_else(bad)?;
                restart_lsn = Some(restart_lsn.map_or(position, |lsn| lsn.min(position)));
            }
            self.add_file(&path, &content).await?;
        }
        match restart_lsn {
            Some(lsn) => self.add_file("restart.lsn", &lsn.0.to_le_bytes()).await,
            None => Ok(()),
        }
    }

    pub(super) async fn add_prepared_transactions(&mut self) -> Result<(), BasebackupError> {
        for xid in self.keymap.two_phase_xids(self.request.major).await? {
            let path = match self.request.major {
                PgMajor::V15 | PgMajor::V16 => format!("pg_twophase/{xid:08X}"),
                PgMajor::V17 | PgMajor::V18 => format!("pg_twophase/{xid:016X}"),
            };
            let state = self.keymap.two_phase_file(xid).await?;
            let mut content = BytesMut::from(state.as_ref());
            content.put_u32_le(crc32c::crc32c(&state));
            self.add_file(&path, &content).await?;
        }
        Ok(())
    }

    pub(super) async fn add_replication_origins(&mut self) -> Result<(), BasebackupError> {
        let origins = self.keymap.repl_origins().await?;
        if origins.is_empty() {
            return Ok(());
        }
        let mut content = BytesMut::new();
        content.put_u32_le(REPLORIGIN_MAGIC);
        for (origin, lsn) in origins {
            content.put_u16_le(origin);
            content.put_bytes(0, 6);
            content.put_u64_le(lsn.0);
        }
        content.put_u32_le(crc32c::crc32c(&content));
        self.add_file(REPLORIGIN_CHECKPOINT, &content).await
    }
}
