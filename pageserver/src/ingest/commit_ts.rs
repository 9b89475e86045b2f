//! Commit timestamps: when they are recorded, their pages, and the entries that commits make.
//!
//! PostgreSQL logs no entries: whoever replays a commit sets them. So the commit record itself is
//! stored as the change of each page that has an entry of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use pageserver_api::WalRecord;
use postgres_ffi::pg_constants::{commit_ts, rmgr, xact};
use postgres_ffi::slru::{commit_ts_page, commit_ts_segment_may_go, slru_page, xid_precedes};
use postgres_ffi::xlog::RawRecord;
use postgres_ffi::{BLCKSZ, LeReader, SlruKind};
use wal_decoder::{DecodedRecord, XactEnd};

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

impl WalIngest {
    pub(super) async fn ingest_commit_ts<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let mut body = LeReader::new(record.main_data);
        let page = self.read_page_number(&mut body)?;
        match record.rmgr_info() {
            commit_ts::ZEROPAGE => {
                Ok(modification.put_slru_zero_page(SlruKind::CommitTs, slru_page(page)).await?)
            }
            commit_ts::TRUNCATE => {
                self.advance_oldest_commit_ts_xid(body.u32("oldest xid")?);
                let mut segments = modification.keymap().slru_segments(SlruKind::CommitTs).await?;
                segments.retain(|segment| commit_ts_segment_may_go(*segment, page));
                drop_segments(segments, modification).await
            }
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }

    /// Begins or ends the recording of commit timestamps, if this is a change.
    pub(super) async fn follow_track_commit_timestamp<S: KeyStore>(
        &mut self,
        on: bool,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        if on == self.tracks_commit_timestamps {
            return Ok(());
        }
        let mut control_file = modification.keymap().parsed_control_file().await?;
        control_file.set_track_commit_timestamp(on);
        modification.put_control_file(control_file.to_bytes().into());
        self.tracks_commit_timestamps = on;
        if on {
            return self.start_commit_timestamps(modification).await;
        }
        self.checkpoint.oldest_commit_ts_xid = 0;
        self.checkpoint.newest_commit_ts_xid = 0;
        self.checkpoint_changed = true;
        let segments = modification.keymap().slru_segments(SlruKind::CommitTs).await?;
        drop_segments(segments, modification).await
    }

    /// What a server does without logging it when it starts to record commit timestamps, or starts
    /// from a shutdown while it does: there is a page for the next transaction.
    pub(super) async fn start_commit_timestamps<S: KeyStore>(
        &mut self,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        if self.checkpoint.oldest_commit_ts_xid == 0 {
            self.checkpoint.oldest_commit_ts_xid = self.checkpoint.next_xid_low();
            self.checkpoint.newest_commit_ts_xid = self.checkpoint.next_xid_low();
            self.checkpoint_changed = true;
        }
        for page in self.checkpoint.skipped_commit_ts_pages() {
            let page = slru_page(page);
            if !modification.slru_page_exists(SlruKind::CommitTs, page).await? {
                modification.put_slru_zero_page(SlruKind::CommitTs, page).await?;
            }
        }
        Ok(())
    }

    /// Takes over the limits in a logged checkpoint; they only move forward.
    pub(super) fn follow_commit_ts_limits(&mut self, oldest: u32, newest: u32) {
        self.advance_oldest_commit_ts_xid(oldest);
        self.advance_newest_commit_ts_xid(newest);
    }

    fn advance_oldest_commit_ts_xid(&mut self, xid: u32) {
        let oldest = &mut self.checkpoint.oldest_commit_ts_xid;
        if *oldest != 0 && xid_precedes(*oldest, xid) {
            *oldest = xid;
            self.checkpoint_changed = true;
        }
    }

    fn advance_newest_commit_ts_xid(&mut self, xid: u32) {
        if xid_precedes(self.checkpoint.newest_commit_ts_xid, xid) {
            self.checkpoint.newest_commit_ts_xid = xid;
            self.checkpoint_changed = true;
        }
    }

    /// Sets the entries of a committed transaction and of its subtransactions.
    pub(super) async fn put_commit_timestamps<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        xid: u32,
        end: &XactEnd,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let mut by_page: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for xid in std::iter::once(xid).chain(end.subxids.iter().copied()) {
            by_page.entry(commit_ts_page(xid)).or_default().push(xid);
        }
        let is_on_one_page = by_page.len() == 1;
        for (number, xids) in by_page {
            let page = slru_page(number);
            // A transaction that was prepared before timestamps were recorded can have no page.
            let oldest = self.checkpoint.oldest_commit_ts_xid;
            if xids.iter().any(|xid| xid_precedes(*xid, oldest))
                && !modification.slru_page_exists(SlruKind::CommitTs, page).await?
            {
                // The image of a page and a change to it cannot share an LSN.
                let mut image = [0; BLCKSZ];
                wal_redo::set_commit_timestamps(&mut image, number, record, self.major)?;
                let image = Bytes::copy_from_slice(&image);
                modification.put_slru_page_image(SlruKind::CommitTs, page, image).await?;
                continue;
            }
            let record =
                if is_on_one_page { record.raw.clone() } else { part_of(record, end, &xids) };
            let record = WalRecord::Postgres { will_init: false, record };
            modification.put_slru_record(SlruKind::CommitTs, page, record);
        }
        self.advance_newest_commit_ts_xid(end.subxids.last().copied().unwrap_or(xid));
        Ok(())
    }
}

/// A commit record with the same time and origin, of these transactions only. The record of a
/// transaction with very many subtransactions is large, and has entries on very many pages.
fn part_of(record: &DecodedRecord, end: &XactEnd, xids: &[u32]) -> Bytes {
    let (xid, subxids) = xids.split_first().map_or((0, xids), |(first, rest)| (*first, rest));
    let mut body = end.commit_timestamp().to_le_bytes().to_vec();
    body.extend(xact::XINFO_HAS_SUBXACTS.to_le_bytes());
    body.extend((subxids.len() as u32).to_le_bytes());
    body.extend(subxids.iter().flat_map(|xid| xid.to_le_bytes()));
    let info = xact::COMMIT | xact::HAS_INFO;
    let part = RawRecord::with_main_data(rmgr::XACT, info, xid, &body);
    part.with_origin(record.origin_id).to_bytes(record.prev).into()
}

async fn drop_segments<S: KeyStore>(
    segments: impl IntoIterator<Item = u32>,
    modification: &mut DatadirModification<'_, S>,
) -> Result<(), IngestErrorKind> {
    let segments: Vec<u32> = segments.into_iter().collect();
    if segments.is_empty() {
        return Ok(());
    }
    Ok(modification.drop_slru_segments(SlruKind::CommitTs, &segments).await?)
}

#[cfg(test)]
mod tests;
