//! Between wall-clock time and LSNs: commit-log pages carry the time of the latest commit
//! applied to them.

use pageserver_api::Key;
use postgres_ffi::{BLCKSZ, SlruKind};
use tokio_util::sync::CancellationToken;
use utils::Lsn;

use super::read::{Keymap, KeymapError};
use super::store::{KeyReadError, KeyReader};

/// How the LSN found relates to the time asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LsnForTimestampKind {
    /// Commits lie on both sides of the time.
    Present,
    /// Every commit is older.
    Future,
    /// Every commit that is still known is newer.
    Past,
    /// There is no commit to compare with.
    NoData,
}

/// Result of a search by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsnForTimestamp {
    /// The last LSN before a commit at or after the time.
    pub lsn: Lsn,
    /// How sure that is.
    pub kind: LsnForTimestampKind,
}

impl<R: KeyReader> Keymap<'_, R> {
    /// Searches the newest LSN in `min..=self.lsn()` at which no commit is at or after
    /// `timestamp` (microseconds since 2000-01-01).
    pub async fn find_lsn_for_timestamp(
        &self,
        timestamp: i64,
        min: Lsn,
        cancel: &CancellationToken,
    ) -> Result<LsnForTimestamp, KeymapError> {
        utils::pausable_failpoint!("find-lsn-for-timestamp-pausable");
        let (mut low, mut high) = (min.0 / 8, self.lsn().0 / 8 + 1);
        let (mut found_smaller, mut found_larger) = (false, false);
        while low < high {
            if cancel.is_cancelled() {
                return Err(KeyReadError::Cancelled.into());
            }
            let middle = low + (high - low) / 2;
            let at = Keymap::at(self.reader(), Lsn(middle * 8));
            let (smaller, larger) = at.compare_commit_times(timestamp).await?;
            found_smaller |= smaller;
            if larger {
                found_larger = true;
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        // `low` is the first position at which a newer commit is visible.
        let commit_lsn = Lsn(low.saturating_sub(1) * 8);
        let (lsn, kind) = match (found_smaller, found_larger) {
            (false, false) => (min, LsnForTimestampKind::NoData),
            (false, true) => (min, LsnForTimestampKind::Past),
            (true, _) if commit_lsn < min => (min, LsnForTimestampKind::Past),
            (true, false) => (commit_lsn, LsnForTimestampKind::Future),
            (true, true) => (commit_lsn, LsnForTimestampKind::Present),
        };
        Ok(LsnForTimestamp { lsn, kind })
    }

    /// The time of the latest commit, if any commit-log page carries one.
    pub async fn timestamp_for_lsn(&self) -> Result<Option<i64>, KeymapError> {
        let mut latest = None;
        for (segment, pages) in self.clog_segments().await? {
            for page in 0..pages {
                latest = latest.max(self.commit_time(segment, page).await?);
            }
        }
        Ok(latest)
    }

    /// Whether some page's time is before `timestamp`, and whether some is not. Stops at the
    /// first that is not.
    async fn compare_commit_times(&self, timestamp: i64) -> Result<(bool, bool), KeymapError> {
        let mut smaller = false;
        for (segment, pages) in self.clog_segments().await? {
            for page in (0..pages).rev() {
                match self.commit_time(segment, page).await? {
                    Some(time) if time >= timestamp => return Ok((smaller, true)),
                    Some(_) => smaller = true,
                    None => {}
                }
            }
        }
        Ok((smaller, false))
    }

    async fn clog_segments(&self) -> Result<Vec<(u32, u32)>, KeymapError> {
        let mut segments = Vec::new();
        for segment in self.slru_segments(SlruKind::Clog).await? {
            segments.push((segment, self.slru_segment_size(SlruKind::Clog, segment).await?));
        }
        Ok(segments)
    }

    async fn commit_time(&self, segment: u32, page: u32) -> Result<Option<i64>, KeymapError> {
        let bytes = self.get(Key::slru_block(SlruKind::Clog, segment, page)).await?;
        let trailer = bytes.get(BLCKSZ..).and_then(|tail| tail.first_chunk::<8>());
        Ok(trailer.map(|time| i64::from_be_bytes(*time)))
    }
}
