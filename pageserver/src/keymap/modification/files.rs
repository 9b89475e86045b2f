//! Changes to what is neither a relation nor an SLRU: prepared transactions, the control file,
//! the checkpoint and replication origins.

use std::collections::BTreeSet;

use bytes::Bytes;
use pageserver_api::Key;
use postgres_ffi::CheckPoint;
use utils::Lsn;

use super::{DatadirModification, ModificationError};
use crate::keymap::directories::TwoPhaseDirectory;
use crate::keymap::directory_counts::DirectoryKind;
use crate::keymap::read::two_phase_key;
use crate::keymap::store::KeyStore;

impl<S: KeyStore> DatadirModification<'_, S> {
    pub(super) fn put_prepared_transactions(&mut self, xids: BTreeSet<u64>) {
        let directory = TwoPhaseDirectory(xids);
        let content = (directory.encode(self.major), directory.0.len());
        let kind = DirectoryKind::PreparedTransactions;
        self.put_directory(Key::TWO_PHASE_DIR, Some(kind), content);
    }

    /// Adds the state of a prepared transaction.
    pub async fn put_two_phase_file(
        &mut self,
        xid: u64,
        state: Bytes,
    ) -> Result<(), ModificationError> {
        let mut xids = self.keymap().two_phase_xids(self.major).await?;
        if !xids.insert(xid) {
            return Err(ModificationError::TwoPhaseExists(xid));
        }
        self.put_prepared_transactions(xids);
        self.put_image(two_phase_key(xid), state);
        Ok(())
    }

    /// Removes the state of a prepared transaction; an absent one is only warned about.
    pub async fn drop_two_phase_file(&mut self, xid: u64) -> Result<(), ModificationError> {
        let mut xids = self.keymap().two_phase_xids(self.major).await?;
        if !xids.remove(&xid) {
            tracing::warn!("twophase file for xid {xid} does not exist");
        }
        self.put_prepared_transactions(xids);
        self.drop_range(two_phase_key(xid)..two_phase_key(xid).next());
        Ok(())
    }

    /// Sets the control file.
    pub fn put_control_file(&mut self, bytes: Bytes) {
        self.put_image(Key::CONTROL_FILE, bytes);
    }

    /// Sets the tracked checkpoint.
    pub fn put_checkpoint(&mut self, checkpoint: &CheckPoint) {
        self.put_image(Key::CHECKPOINT, Bytes::copy_from_slice(&checkpoint.encode()));
    }

    /// Sets the progress of a replication origin; 0 drops it.
    pub fn put_repl_origin(&mut self, origin: u16, progress: Lsn) {
        let bytes = Bytes::copy_from_slice(&progress.0.to_be_bytes());
        self.put_image(Key::repl_origin(origin), bytes);
    }
}
