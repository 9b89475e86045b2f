//! Sending WAL, counting what is flushed, and finishing a sync.

use utils::Lsn;

use super::{Action, CloseReason, ConnectionId, FatalError, Mode, Phase, Proposer, WalSource};
use crate::messages::{AppendRequestHeader, AppendResponse};

/// A new commit position waits this long for WAL to travel with before it gets a message of its
/// own. It is what pageservers and replicas see later at most; commits do not wait for it.
const COMMIT_ANNOUNCEMENT_DELAY_MS: u64 = 5;

impl Proposer {
    pub(super) fn on_wal_available(&mut self, end_lsn: Lsn) {
        let Some(leadership) = &mut self.leadership else { return };
        if self.config.mode != Mode::Sync && end_lsn > leadership.available_lsn {
            leadership.available_lsn = end_lsn;
            for index in 0..self.peers.len() {
                self.push(index);
            }
        }
    }

    pub(super) fn on_wal_sent(&mut self, connection: ConnectionId) {
        let Some(index) = self.current_peer(connection) else { return };
        if let Phase::Active(stream) = &mut self.peers[index].phase {
            stream.sending = false;
            self.push(index);
        }
    }

    /// Tells those who have not heard of the commit position, once its time has come. Under
    /// load the next WAL has carried it long before.
    pub(super) fn announce_commit_if_due(&mut self, now_ms: u64) {
        if self.commit_announcement_due_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return;
        }
        self.commit_announcement_due_ms = None;
        let Some(leadership) = &self.leadership else { return };
        let commit_lsn = leadership.commit_lsn;
        for index in 0..self.peers.len() {
            if let Phase::Active(stream) = &mut self.peers[index].phase
                && stream.told_commit_lsn < commit_lsn
            {
                stream.announce = true;
                self.push(index);
            }
        }
    }

    /// Tells every active safekeeper the current positions, with WAL if there is any.
    pub(super) fn announce_to_active(&mut self) {
        for index in 0..self.peers.len() {
            if let Phase::Active(stream) = &mut self.peers[index].phase {
                stream.announce = true;
                self.push(index);
            }
        }
    }

    /// Sends the next message if there is something to say and the last one is out.
    ///
    /// A safekeeper syncs all that has arrived at once, so small pieces of WAL gather here while
    /// it is busy: fewer messages, and no commit waits longer than for the sync under way.
    pub(super) fn push(&mut self, index: usize) {
        let Some(leadership) = &self.leadership else { return };
        let Phase::Active(stream) = self.peers[index].phase else { return };
        if stream.sending {
            return;
        }
        let begin_lsn = stream.next_lsn;
        let limit = begin_lsn + self.config.max_append_bytes;
        let wanted = limit.min(leadership.available_lsn).max(begin_lsn);
        let is_full = wanted == limit;
        if !is_full && stream.is_busy() {
            return;
        }
        let (end_lsn, source) = self.locate(index, begin_lsn, wanted);
        if end_lsn == begin_lsn && !stream.announce {
            return;
        }
        let header = AppendRequestHeader {
            term: self.term,
            term_start_lsn: leadership.epoch_start_lsn,
            begin_lsn,
            end_lsn,
            commit_lsn: leadership.commit_lsn,
            truncate_lsn: leadership.truncate_lsn,
            proposer_uuid: self.config.proposer_uuid,
        };
        if let Phase::Active(stream) = &mut self.peers[index].phase {
            stream.note_sent(end_lsn, header.commit_lsn);
        }
        let connection = self.connection(index);
        self.act(Action::SendWal { connection, header, source });
    }

    /// Where WAL from `begin` on can be had, and how much of `[begin, end)`.
    /// An empty range means: nowhere for now.
    fn locate(&self, index: usize, begin: Lsn, end: Lsn) -> (Lsn, WalSource) {
        let epoch_start_lsn = self.leadership.as_ref().map_or(Lsn::MAX, |won| won.epoch_start_lsn);
        if begin >= end || (begin >= epoch_start_lsn && begin >= self.local_window_start) {
            return (end, WalSource::Local);
        }
        // The database has nothing below our term.
        let end = if begin < epoch_start_lsn { end.min(epoch_start_lsn) } else { end };
        match self.donor_for(index, begin) {
            Some((donor, flush_lsn)) => {
                let source = WalSource::Donor { safekeeper: donor, term: self.term };
                (end.min(flush_lsn), source)
            }
            None if begin >= epoch_start_lsn => (end, WalSource::Database),
            None => (begin, WalSource::Local),
        }
    }

    /// The active safekeeper with the longest log of our term, if it has WAL behind `begin`.
    /// Only one that has reported a position in our term qualifies: it surely
    /// follows our history.
    fn donor_for(&self, index: usize, begin: Lsn) -> Option<(usize, Lsn)> {
        let epoch_start_lsn = self.leadership.as_ref()?.epoch_start_lsn;
        let peers = self.peers.iter().enumerate();
        peers
            .filter(|(other, peer)| *other != index && peer.is_active())
            .map(|(other, peer)| (other, peer.last_response.flush_lsn))
            .filter(|(_, flush_lsn)| *flush_lsn >= epoch_start_lsn && *flush_lsn > begin)
            .max_by_key(|(_, flush_lsn)| *flush_lsn)
    }

    pub(super) fn on_append_response(&mut self, index: usize, response: AppendResponse) {
        let (term, ours) = (response.term, self.term);
        if term > ours {
            return self.fail(FatalError::Superseded { safekeeper: index, term, ours });
        }
        if term < ours {
            return self.close(index, CloseReason::TermWentBack { response: term, ours });
        }
        let from = self.peers[index].last_response.flush_lsn;
        let to = response.flush_lsn;
        if to < from {
            return self.close(index, CloseReason::FlushWentBack { from, to });
        }
        let pageserver_feedback = response.pageserver_feedback;
        let peer = &mut self.peers[index];
        peer.last_response = response;
        let mut had_gathered = false;
        if let Phase::Active(stream) = &mut peer.phase {
            had_gathered = stream.is_busy();
            stream.note_answer();
        }
        self.advance_commit_lsn();
        if let Some(feedback) = pageserver_feedback {
            self.take_pageserver_feedback(feedback);
        }
        self.aggregate_standby_feedback();
        self.advance_truncate_lsn();
        if to > from {
            // This one may now serve others that found no donor.
            (0..self.peers.len()).for_each(|other| self.push(other));
        } else if had_gathered {
            self.push(index);
        }
        self.check_synced();
    }

    fn advance_commit_lsn(&mut self) {
        let quorum = self.quorum();
        let Some(leadership) = &mut self.leadership else { return };
        let flushed = self.peers.iter().map(|peer| peer.last_response.flush_lsn);
        let commit_lsn = quorum_position(flushed, leadership.epoch_start_lsn, quorum);
        if commit_lsn > leadership.commit_lsn {
            leadership.commit_lsn = commit_lsn;
            self.act(Action::Committed { lsn: commit_lsn });
            match self.config.mode {
                // There is no more WAL that could carry the position.
                Mode::Sync => self.announce_to_active(),
                Mode::Stream { .. } => {
                    let due_ms = self.now_ms + COMMIT_ANNOUNCEMENT_DELAY_MS;
                    self.commit_announcement_due_ms.get_or_insert(due_ms);
                }
            }
        }
    }

    /// A safekeeper never heard of counts as 0 and holds the position back.
    fn advance_truncate_lsn(&mut self) {
        let Some(leadership) = &mut self.leadership else { return };
        let flushed = self.peers.iter().map(|peer| peer.last_response.flush_lsn);
        let everywhere = flushed.min().unwrap_or(Lsn::INVALID);
        let candidate = everywhere.min(leadership.commit_lsn);
        leadership.truncate_lsn = leadership.truncate_lsn.max(candidate);
        assert!(
            leadership.commit_lsn == Lsn::INVALID
                || leadership.truncate_lsn <= leadership.commit_lsn,
            "WAL counts as flushed everywhere ({}) before it is committed ({})",
            leadership.truncate_lsn,
            leadership.commit_lsn
        );
    }

    /// A safekeeper less may be one less to wait for.
    pub(super) fn after_peer_left(&mut self) {
        self.check_synced();
    }

    /// Sync ends when all safekeepers that can be reached, and a quorum, have
    /// durably committed everything. A mere quorum would do for safety, but
    /// then a pageserver might ask one that does not know yet.
    fn check_synced(&mut self) {
        let Some(leadership) = &self.leadership else { return };
        if self.config.mode != Mode::Sync || self.finished {
            return;
        }
        let lsn = leadership.epoch_start_lsn;
        let is_synced = |commit_lsn: Lsn| commit_lsn >= lsn;
        let commits = |peer: &super::Peer| is_synced(peer.last_response.commit_lsn);
        let synced = self.peers.iter().filter(|peer| commits(peer)).count();
        let waiting = self.peers.iter().any(|peer| peer.phase != Phase::Offline && !commits(peer));
        if synced >= self.quorum() && !waiting {
            // Spreads the truncate position, which lets the next sync skip work.
            self.announce_to_active();
            self.act(Action::Synced { lsn });
        }
    }
}

/// The position that at least `quorum` safekeepers have flushed in our term.
/// WAL of earlier terms does not count: another quorum could still elect a log
/// without it, until our own term begins on top of it.
fn quorum_position(flushed: impl Iterator<Item = Lsn>, epoch_start_lsn: Lsn, quorum: usize) -> Lsn {
    let in_our_term = |lsn: &Lsn| *lsn >= epoch_start_lsn;
    let mut positions: Vec<Lsn> = flushed.filter(in_our_term).collect();
    positions.sort_unstable_by(|left, right| right.cmp(left));
    positions.get(quorum - 1).copied().unwrap_or(Lsn::INVALID)
}
