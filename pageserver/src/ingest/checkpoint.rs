//! The tracked checkpoint: what a server needs to know to start at any LSN, not only at
//! checkpoints.

use postgres_ffi::pg_constants::{standby, xlog};
use postgres_ffi::slru::xid_precedes;
use postgres_ffi::{CheckPoint, LeReader};
use wal_decoder::DecodedRecord;

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

impl WalIngest {
    pub(super) async fn ingest_xlog<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        match record.rmgr_info() {
            xlog::NEXTOID => {
                let next_oid = LeReader::new(record.main_data).u32("next oid")?;
                self.checkpoint_changed |= next_oid != self.checkpoint.next_oid;
                self.checkpoint.next_oid = next_oid;
                Ok(())
            }
            operation @ (xlog::CHECKPOINT_SHUTDOWN | xlog::CHECKPOINT_ONLINE) => {
                let logged = CheckPoint::decode(record.main_data)?;
                refuse_new_timeline(logged.prev_timeline_id, logged.this_timeline_id)?;
                self.follow_checkpoint(&logged);
                self.checkpoint_changed = true;
                if operation == xlog::CHECKPOINT_SHUTDOWN {
                    self.follow_shutdown(&logged, modification).await?;
                }
                Ok(())
            }
            xlog::PARAMETER_CHANGE => {
                let mut body = LeReader::new(record.main_data);
                body.skip(6 * 4 + 1, "other settings")?;
                let on = body.u8("track_commit_timestamp")? != 0;
                self.follow_track_commit_timestamp(on, modification).await
            }
            xlog::FPW_CHANGE => {
                let on = LeReader::new(record.main_data).u8("full_page_writes")? != 0;
                self.checkpoint_changed |= on != self.checkpoint.full_page_writes;
                self.checkpoint.full_page_writes = on;
                Ok(())
            }
            xlog::END_OF_RECOVERY => {
                let mut body = LeReader::new(record.main_data);
                body.skip(8, "time of the end of recovery")?;
                let (new, old) = (body.u32("timeline")?, body.u32("previous timeline")?);
                refuse_new_timeline(old, new)
            }
            // Page images are blocks; the others change nothing that is stored.
            xlog::FPI
            | xlog::FPI_FOR_HINT
            | xlog::NOOP
            | xlog::SWITCH
            | xlog::BACKUP_END
            | xlog::RESTORE_POINT
            | xlog::OVERWRITE_CONTRECORD
            | xlog::CHECKPOINT_REDO => Ok(()),
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }

    /// Takes over what a logged checkpoint says. Counters only move forward: the record may
    /// have been prepared before others that were logged first.
    fn follow_checkpoint(&mut self, logged: &CheckPoint) {
        let tracked = &mut self.checkpoint;
        tracked.advance_next_xid(logged.next_xid_low().wrapping_sub(1));
        tracked.advance_next_multi(logged.next_multi, logged.next_multi_offset);
        if xid_precedes(tracked.oldest_xid, logged.oldest_xid) {
            tracked.oldest_xid = logged.oldest_xid;
            tracked.oldest_xid_db = logged.oldest_xid_db;
        }
        if (logged.oldest_multi.wrapping_sub(tracked.oldest_multi) as i32) > 0 {
            tracked.oldest_multi = logged.oldest_multi;
            tracked.oldest_multi_db = logged.oldest_multi_db;
        }
        tracked.oldest_active_xid = logged.oldest_active_xid;
        tracked.redo = logged.redo;
        tracked.time = logged.time;
        tracked.full_page_writes = logged.full_page_writes;
        tracked.wal_level = logged.wal_level;
        self.follow_commit_ts_limits(logged.oldest_commit_ts_xid, logged.newest_commit_ts_xid);
    }

    /// What the record of a shutdown says is exact, for nothing else was logged meanwhile.
    async fn follow_shutdown<S: KeyStore>(
        &mut self,
        logged: &CheckPoint,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let tracked = &mut self.checkpoint;
        tracked.next_xid = logged.next_xid;
        tracked.next_oid = logged.next_oid;
        tracked.oldest_commit_ts_xid = logged.oldest_commit_ts_xid;
        tracked.newest_commit_ts_xid = logged.newest_commit_ts_xid;
        if logged.oldest_active_xid == 0 {
            self.checkpoint.oldest_active_xid = self.oldest_xid(modification).await?;
        }
        if self.tracks_commit_timestamps {
            self.start_commit_timestamps(modification).await?;
        }
        Ok(())
    }

    /// After a shutdown only prepared transactions run. A standby that starts here needs the
    /// oldest.
    async fn oldest_xid<S: KeyStore>(
        &self,
        modification: &DatadirModification<'_, S>,
    ) -> Result<u32, IngestErrorKind> {
        let prepared = modification.keymap().two_phase_xids(self.major).await?;
        let older = |a: u32, b: u32| if xid_precedes(a, b) { a } else { b };
        let next = self.checkpoint.next_xid_low();
        Ok(prepared.into_iter().map(|xid| xid as u32).fold(next, older))
    }

    pub(super) fn ingest_standby(
        &mut self,
        record: &DecodedRecord<'_>,
    ) -> Result<(), IngestErrorKind> {
        match record.rmgr_info() {
            standby::RUNNING_XACTS => {
                let mut body = LeReader::new(record.main_data);
                body.skip(4 + 4 + 4, "transaction counts")?;
                body.skip(4, "next transaction")?;
                self.checkpoint.oldest_active_xid = body.u32("oldest running transaction")?;
                self.checkpoint_changed = true;
                Ok(())
            }
            standby::LOCK | standby::INVALIDATIONS => Ok(()),
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }
}

/// History is one line: a server that was promoted goes on with other WAL than its primary, at the
/// same positions.
fn refuse_new_timeline(from: u32, to: u32) -> Result<(), IngestErrorKind> {
    if from == to { Ok(()) } else { Err(IngestErrorKind::TimelineSwitch { from, to }) }
}

#[cfg(test)]
mod tests;
