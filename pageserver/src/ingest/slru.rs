//! The commit log and multixacts: new pages, new multixacts, truncation.

use std::collections::BTreeMap;

use bytes::Bytes;
use pageserver_api::WalRecord;
use postgres_ffi::pg_constants::{clog, multixact};
use postgres_ffi::slru::{
    MAX_MEMBERS_SEGMENT, MULTIXACT_MEMBERS_PER_PAGE, MULTIXACT_OFFSETS_PER_PAGE, clog_page,
    clog_page_precedes, clog_segment_may_go, multixact_members_page, multixact_members_segment,
    multixact_offsets_page, next_multixact, slru_page,
};
use postgres_ffi::{LeReader, PgMajor, SlruKind};
use wal_decoder::DecodedRecord;

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

impl WalIngest {
    pub(super) async fn ingest_clog<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let mut body = LeReader::new(record.main_data);
        let page = self.read_page_number(&mut body)?;
        match record.rmgr_info() {
            clog::ZEROPAGE => {
                Ok(modification.put_slru_zero_page(SlruKind::Clog, slru_page(page)).await?)
            }
            clog::TRUNCATE => {
                self.checkpoint.oldest_xid = body.u32("oldest xid")?;
                self.checkpoint.oldest_xid_db = body.u32("oldest xid database")?;
                self.checkpoint_changed = true;
                self.truncate_clog(page, modification).await
            }
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }

    /// Page numbers are wider from 17 on; those of our SLRUs still fit 32 bits.
    pub(super) fn read_page_number(&self, body: &mut LeReader) -> Result<u32, IngestErrorKind> {
        let what = "SLRU page number";
        match self.major {
            PgMajor::V15 | PgMajor::V16 => Ok(body.u32(what)?),
            PgMajor::V17 | PgMajor::V18 => {
                let value = body.u64(what)?;
                u32::try_from(value).map_err(|_| IngestErrorKind::OutOfRange { what, value })
            }
        }
    }

    async fn truncate_clog<S: KeyStore>(
        &self,
        cutoff_page: u32,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let latest_page = clog_page(self.checkpoint.next_xid_low());
        if clog_page_precedes(latest_page, cutoff_page) {
            tracing::info!("could not truncate directory pg_xact apparent wraparound");
            return Ok(());
        }
        let segments = modification.keymap().slru_segments(SlruKind::Clog).await?;
        let dropped: Vec<u32> = segments
            .into_iter()
            .filter(|segment| clog_segment_may_go(*segment, cutoff_page))
            .collect();
        Ok(modification.drop_slru_segments(SlruKind::Clog, &dropped).await?)
    }

    pub(super) async fn ingest_multixact<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let mut body = LeReader::new(record.main_data);
        match record.rmgr_info() {
            multixact::ZERO_OFF_PAGE => {
                let page = self.read_page_number(&mut body)?;
                self.zero_offsets_page(page, modification).await
            }
            multixact::ZERO_MEM_PAGE => {
                let page = slru_page(self.read_page_number(&mut body)?);
                Ok(modification.put_slru_zero_page(SlruKind::MultiXactMembers, page).await?)
            }
            multixact::CREATE_ID => {
                let (id, offset) = (body.u32("multixact")?, body.u32("member offset")?);
                let members = (0..body.u32("member count")?)
                    .map(|_| Ok((body.u32("member")?, body.u32("member status")?)))
                    .collect::<Result<Vec<_>, IngestErrorKind>>()?;
                self.create_multixact(id, offset, &members, modification).await
            }
            multixact::TRUNCATE_ID => {
                self.checkpoint.oldest_multi_db = body.u32("oldest multixact database")?;
                body.skip(4, "start of truncated multixacts")?;
                self.checkpoint.oldest_multi = body.u32("oldest multixact")?;
                self.checkpoint_changed = true;
                let (start, end) = (body.u32("first member")?, body.u32("member end")?);
                let dropped = members_segments_between(start, end);
                Ok(modification.drop_slru_segments(SlruKind::MultiXactMembers, &dropped).await?)
            }
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }

    /// A multixact that is the last of its page also sets the first entry of the next page.
    /// Older minors log that page's creation only afterwards; it must not wipe the entry.
    async fn zero_offsets_page<S: KeyStore>(
        &mut self,
        page: u32,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let kind = SlruKind::MultiXactOffsets;
        let first_is_next =
            page.wrapping_mul(MULTIXACT_OFFSETS_PER_PAGE) == self.checkpoint.next_multi;
        if first_is_next && modification.slru_page_exists(kind, slru_page(page)).await? {
            return Ok(());
        }
        Ok(modification.put_slru_zero_page(kind, slru_page(page)).await?)
    }

    async fn create_multixact<S: KeyStore>(
        &mut self,
        id: u32,
        offset: u32,
        members: &[(u32, u32)],
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let end = offset.wrapping_add(members.len() as u32);
        self.put_offsets(id, offset, end, modification).await?;
        for MembersOnPage { page, offset, members } in members_by_page(offset, members) {
            let record = WalRecord::MultixactMembersCreate { offset, members };
            modification.put_slru_record(SlruKind::MultiXactMembers, slru_page(page), record);
        }
        let tracked = &mut self.checkpoint;
        self.checkpoint_changed |= tracked.advance_next_multi(id.wrapping_add(1), end);
        let newest = members
            .iter()
            .map(|(xid, _)| *xid)
            .reduce(|a, b| if (b.wrapping_sub(a) as i32) > 0 { b } else { a });
        if let Some(xid) = newest {
            self.checkpoint_changed |= tracked.advance_next_xid(xid);
        }
        Ok(())
    }

    /// Sets where this multixact's members begin, and where the next one's will: a reader takes
    /// the difference as the number of members. Offset 0 means "unknown" to it, so the next
    /// one's is 1 then.
    async fn put_offsets<S: KeyStore>(
        &self,
        id: u32,
        offset: u32,
        end: u32,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let kind = SlruKind::MultiXactOffsets;
        let (this, next) = ((id, offset), (next_multixact(id), end.max(1)));
        let mut by_page: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        for entry in [this, next] {
            by_page.entry(multixact_offsets_page(entry.0)).or_default().push(entry);
        }
        for (page, entries) in by_page {
            let page = slru_page(page);
            if entries == [next] && !modification.slru_page_exists(kind, page).await? {
                // The image of a page and a change to it cannot share an LSN.
                modification.put_slru_page_image(kind, page, page_with_entry(next)).await?;
                continue;
            }
            let record = match entries.as_slice() {
                &[(multixact, offset)] => WalRecord::MultixactOffsetCreate { multixact, offset },
                _ => WalRecord::MultixactOffsetsCreate { entries },
            };
            modification.put_slru_record(kind, page, record);
        }
        Ok(())
    }
}

/// An offsets page that is zero but for one entry.
fn page_with_entry((multixact, offset): (u32, u32)) -> Bytes {
    let entries = (0..MULTIXACT_OFFSETS_PER_PAGE)
        .map(|entry| if entry == multixact % MULTIXACT_OFFSETS_PER_PAGE { offset } else { 0 });
    entries.flat_map(u32::to_le_bytes).collect()
}

/// Members that lie on one page.
#[derive(Debug, PartialEq, Eq)]
struct MembersOnPage {
    page: u32,
    /// Position of the first.
    offset: u32,
    members: Vec<(u32, u32)>,
}

/// Splits members by the page they lie on. The last page before positions wrap around is
/// shorter than the others.
fn members_by_page(offset: u32, members: &[(u32, u32)]) -> Vec<MembersOnPage> {
    let mut pages = Vec::new();
    let (mut offset, mut rest) = (offset, members);
    while !rest.is_empty() {
        let to_page_end = MULTIXACT_MEMBERS_PER_PAGE - offset % MULTIXACT_MEMBERS_PER_PAGE;
        let to_wrap = (1u64 << 32) - u64::from(offset);
        let room = u64::from(to_page_end).min(to_wrap);
        let taken = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let (now, later) = rest.split_at(taken);
        let page = multixact_members_page(offset);
        pages.push(MembersOnPage { page, offset, members: now.to_vec() });
        offset = offset.wrapping_add(taken as u32);
        rest = later;
    }
    pages
}

/// Segments from that of position `start` up to but excluding that of `end`, on the circle.
fn members_segments_between(start: u32, end: u32) -> Vec<u32> {
    let (mut segment, end) = (multixact_members_segment(start), multixact_members_segment(end));
    let mut segments = Vec::new();
    while segment != end {
        segments.push(segment);
        segment = if segment == MAX_MEMBERS_SEGMENT { 0 } else { segment + 1 };
    }
    segments
}

#[cfg(test)]
mod tests;
