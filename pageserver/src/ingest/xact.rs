//! Transaction ends: commit-log entries, dropped relations, prepared transactions, origins.

use pageserver_api::WalRecord;
use postgres_ffi::pg_constants::xact;
use postgres_ffi::slru::{clog_page, slru_page};
use postgres_ffi::{ForkNumber, SlruKind};
use wal_decoder::{DecodedRecord, XactEnd};

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

impl WalIngest {
    pub(super) async fn ingest_xact<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        match record.info & xact::OP_MASK {
            operation @ (xact::COMMIT
            | xact::ABORT
            | xact::COMMIT_PREPARED
            | xact::ABORT_PREPARED) => {
                let end = XactEnd::parse(record.main_data, record.info, self.major)?;
                let committed = matches!(operation, xact::COMMIT | xact::COMMIT_PREPARED);
                let prepared = matches!(operation, xact::COMMIT_PREPARED | xact::ABORT_PREPARED);
                let xid = if prepared { two_phase_xid(&end)? } else { record.xid };
                self.end_transaction(xid, &end, committed, modification).await?;
                if committed && self.tracks_commit_timestamps {
                    self.put_commit_timestamps(record, xid, &end, modification).await?;
                }
                if prepared {
                    modification.drop_two_phase_file(self.full_xid(xid)).await?;
                }
                if let (true, Some(origin)) = (record.origin_id != 0, end.origin) {
                    modification.put_repl_origin(record.origin_id, origin.lsn);
                }
                Ok(())
            }
            xact::PREPARE => {
                let state = record.raw.slice_ref(record.main_data);
                Ok(modification.put_two_phase_file(self.full_xid(record.xid), state).await?)
            }
            xact::ASSIGNMENT | xact::INVALIDATIONS => Ok(()),
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }

    async fn end_transaction<S: KeyStore>(
        &mut self,
        xid: u32,
        end: &XactEnd,
        committed: bool,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let xids: Vec<u32> = std::iter::once(xid).chain(end.subxids.iter().copied()).collect();
        for xids in xids.chunk_by(|a, b| clog_page(*a) == clog_page(*b)) {
            let Some(first) = xids.first() else { continue };
            let page = slru_page(clog_page(*first));
            let xids = xids.to_vec();
            let change = if committed {
                WalRecord::ClogSetCommitted { xids, timestamp: end.time }
            } else {
                WalRecord::ClogSetAborted { xids }
            };
            modification.put_slru_record(SlruKind::Clog, page, change);
        }
        // A subtransaction may have left no other record.
        for subxid in &end.subxids {
            self.checkpoint_changed |= self.checkpoint.advance_next_xid(*subxid);
        }
        if end.dropped.is_empty() {
            return Ok(());
        }
        let forks = |rel: &postgres_ffi::RelTag| ForkNumber::ALL.map(|fork| rel.with_fork(fork));
        let dropped: Vec<_> = end.dropped.iter().flat_map(forks).collect();
        Ok(modification.drop_relations(&dropped).await?)
    }
}

/// The prepared transaction that ends; the record of its end must name it.
fn two_phase_xid(end: &XactEnd) -> Result<u32, IngestErrorKind> {
    end.two_phase_xid.ok_or(IngestErrorKind::OutOfRange { what: "prepared transaction", value: 0 })
}
