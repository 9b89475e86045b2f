//! Where the server starts: `zenith.signal`, `pg_control` and the first WAL segment.

use postgres_ffi::control_file::{ControlFile, DB_SHUTDOWNED};
use postgres_ffi::xlog::{ShutdownCheckpoint, WalIdentity, segment_file_name, segment_start_image};
use postgres_ffi::{CheckPoint, WAL_SEGMENT_SIZE};
use tokio::io::AsyncWrite;
use utils::Lsn;

use crate::keymap::KeyReader;

use super::{Backup, BackupKind, BasebackupError, ContentError};

impl<R: KeyReader, W: AsyncWrite + Unpin + Send> Backup<'_, R, W> {
    /// The last files: whoever has them has the whole archive.
    pub(super) async fn add_control_file_and_wal(&mut self) -> Result<(), BasebackupError> {
        fail::fail_point!("basebackup-before-control-file", |_| {
            Err(ContentError::Failpoint.into())
        });
        let prev = self.request.prev_lsn;
        let signal = match (prev.is_valid(), self.request.is_branch_point) {
            (true, _) => format!("PREV LSN: {prev}"),
            (false, true) => "PREV LSN: none".to_owned(),
            (false, false) => "PREV LSN: invalid".to_owned(),
        };
        self.add_file("zenith.signal", signal.as_bytes()).await?;

        let stored = self.keymap.control_file().await?;
        let mut control_file = ControlFile::parse(&stored).map_err(ContentError::from)?;
        let identity =
            WalIdentity { major: self.request.major, system_id: control_file.system_identifier() };
        let tracked = self.keymap.checkpoint().await?;
        let segments = match self.request.kind {
            BackupKind::Bootable => {
                let lsn = self.request.lsn;
                let shutdown = ShutdownCheckpoint::new(identity, lsn, prev, &tracked);
                shutdown.patch_control_file(&mut control_file);
                shutdown.segments()
            }
            BackupKind::Sparse { .. } | BackupKind::Full => {
                vec![self.continue_wal(identity, &tracked, &mut control_file)]
            }
        };
        self.add_file("global/pg_control", &control_file.to_bytes()).await?;
        for (number, content) in segments {
            let path = format!("pg_wal/{}", segment_file_name(number));
            self.add_file(&path, &content).await?;
        }
        Ok(())
    }

    /// Points the control file at the backup's LSN without a checkpoint record there, and makes
    /// the segment in which the server goes on writing.
    fn continue_wal(
        &self,
        identity: WalIdentity,
        tracked: &CheckPoint,
        control_file: &mut ControlFile,
    ) -> (u64, Vec<u8>) {
        let lsn = self.request.lsn;
        let redo = lsn.normalize(WAL_SEGMENT_SIZE as u64);
        control_file.set_checkpoint(Lsn::INVALID, &CheckPoint { redo, ..tracked.clone() });
        control_file.set_state(DB_SHUTDOWNED);
        let number = lsn.segment_number(WAL_SEGMENT_SIZE as u64);
        (number, segment_start_image(identity, lsn))
    }
}
