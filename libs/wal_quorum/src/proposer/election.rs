//! From greetings to leadership: choosing a term, collecting votes, deciding
//! where the term begins, and announcing the result.
//!
//! Greetings and votes are counted per safekeeper, never per connection.

use utils::Lsn;

use super::{Action, CloseReason, Election, FatalError, Mode, Phase, Proposer};
use crate::messages::{
    AcceptorGreeting, ProposerElected, ProposerMessage, VoteRequest, VoteResponse,
};
use crate::proposer::peer::Stream;
use crate::term_history::{INVALID_TERM, TermHistory, TermLsn};

/// What the election gave.
#[derive(Clone, Debug)]
pub(super) struct Leadership {
    /// Where our term begins (E). Commits are counted from here on.
    pub(super) epoch_start_lsn: Lsn,
    /// The donor's history and our own entry.
    pub(super) history: TermHistory,
    /// Where the timeline begins; 0 when no safekeeper knew.
    pub(super) timeline_start_lsn: Lsn,
    /// End of the WAL that exists.
    pub(super) available_lsn: Lsn,
    /// Durable on a quorum; 0 until a quorum reached the term's start.
    pub(super) commit_lsn: Lsn,
    /// Flushed on all safekeepers.
    pub(super) truncate_lsn: Lsn,
}

impl Proposer {
    pub(super) fn on_greeting(&mut self, index: usize, greeting: &AcceptorGreeting) {
        let peer = &mut self.peers[index];
        peer.node_id = Some(greeting.node_id);
        peer.greeted_term = Some(greeting.term);
        peer.phase = Phase::Voting;
        if self.term == INVALID_TERM {
            self.try_choose_term();
        } else if greeting.term > self.term {
            let (term, ours) = (greeting.term, self.term);
            self.fail(FatalError::HigherTerm { safekeeper: index, term, ours });
        } else {
            self.ask_for_vote(index);
        }
    }

    /// With a quorum of greetings the term is one above all of them, and final.
    fn try_choose_term(&mut self) {
        let greeted: Vec<_> = self.peers.iter().filter_map(|peer| peer.greeted_term).collect();
        if greeted.len() < self.quorum() {
            return;
        }
        self.term = greeted.into_iter().max().unwrap_or(INVALID_TERM) + 1;
        for index in 0..self.peers.len() {
            if self.peers[index].phase == Phase::Voting {
                self.ask_for_vote(index);
            }
        }
    }

    fn ask_for_vote(&mut self, index: usize) {
        self.peers[index].phase = Phase::WaitVerdict;
        let proposer_uuid = self.config.proposer_uuid;
        let request = VoteRequest { term: self.term, proposer_uuid };
        self.send(index, &ProposerMessage::VoteRequest(request));
    }

    pub(super) fn on_vote(&mut self, index: usize, response: VoteResponse) {
        let ours = self.term;
        if response.term > ours {
            let term = response.term;
            return self.fail(FatalError::HigherTerm { safekeeper: index, term, ours });
        }
        let needed = self.leadership.is_none() && self.peers[index].vote.is_none();
        if needed && response.term == ours && !response.vote_given {
            // Another proposer runs for, or already leads, the same term.
            return self.fail(FatalError::VoteRefused { safekeeper: index, term: ours });
        }
        if let Err(reason) = self.check_vote(&response) {
            return self.close(index, reason);
        }
        if self.leadership.is_some() {
            return self.announce_election(index, &response);
        }
        let peer = &mut self.peers[index];
        peer.vote = Some(response);
        peer.phase = Phase::Idle;
        if self.peers.iter().filter(|peer| peer.vote.is_some()).count() >= self.quorum() {
            self.become_leader();
        }
    }

    fn check_vote(&self, response: &VoteResponse) -> Result<(), CloseReason> {
        if response.term < self.term {
            return Err(CloseReason::TermWentBack { response: response.term, ours: self.term });
        }
        response.term_history.check_ascending()?;
        let last_log_term = response.term_history.last_term();
        let is_future = match &self.leadership {
            None => last_log_term >= self.term,
            Some(_) => last_log_term > self.term,
        };
        match is_future {
            true => Err(CloseReason::FutureLog { last_log_term, ours: self.term }),
            false => Ok(()),
        }
    }

    fn become_leader(&mut self) {
        let Some((donor, best)) = self.best_vote() else { return };
        let votes = || self.peers.iter().filter_map(|peer| peer.vote.as_ref());
        let mut epoch_start_lsn = best.flush_lsn;
        let mut truncate_lsn = votes().map(|vote| vote.truncate_lsn).max().unwrap_or(Lsn::INVALID);
        let mut timeline_start_lsn = votes()
            .map(|vote| vote.timeline_start_lsn)
            .find(|lsn| lsn.is_valid())
            .unwrap_or(Lsn::INVALID);
        let mut history = best.term_history.clone();
        let donor_last = history.0.last().copied();
        let donor_last = donor_last.unwrap_or(TermLsn { term: INVALID_TERM, lsn: Lsn::INVALID });
        if let Mode::Stream { redo_start_lsn, last_elected_term } = self.config.mode {
            let redo_start_lsn = self.skip_page_header(redo_start_lsn);
            if epoch_start_lsn == Lsn::INVALID {
                // Nobody has anything: the database brings the first WAL.
                epoch_start_lsn = redo_start_lsn;
                truncate_lsn = redo_start_lsn;
                if timeline_start_lsn == Lsn::INVALID {
                    timeline_start_lsn = redo_start_lsn;
                }
            }
            let continues = self.skip_page_header(epoch_start_lsn) == redo_start_lsn;
            // The previous leader was this same database, and nobody wrote since.
            let was_ours =
                last_elected_term != INVALID_TERM && last_elected_term == donor_last.term;
            if !continues && !was_ours {
                let error = FatalError::BasebackupMismatch { epoch_start_lsn, redo_start_lsn };
                return self.fail(error);
            }
        }
        history.0.push(TermLsn { term: self.term, lsn: epoch_start_lsn });
        // What the quorum agreed on cannot be ahead of its own WAL.
        let truncate_lsn = truncate_lsn.min(epoch_start_lsn);
        self.leadership = Some(Leadership {
            epoch_start_lsn,
            history,
            timeline_start_lsn,
            available_lsn: epoch_start_lsn,
            commit_lsn: Lsn::INVALID,
            truncate_lsn,
        });
        self.local_window_start = epoch_start_lsn;
        self.act(Action::Elected(Election {
            term: self.term,
            epoch_start_lsn,
            donor,
            donor_last_log_term: donor_last.term,
            donor_last_log_lsn: donor_last.lsn,
            truncate_lsn,
        }));
        if self.config.mode == Mode::Sync && truncate_lsn == epoch_start_lsn {
            // Everything is flushed everywhere already.
            return self.act(Action::Synced { lsn: epoch_start_lsn });
        }
        self.announce_to_idle();
    }

    /// The vote with the newest log: highest last term, then longest.
    fn best_vote(&self) -> Option<(usize, &VoteResponse)> {
        let votes = self.peers.iter().enumerate();
        votes
            .filter_map(|(index, peer)| Some((index, peer.vote.as_ref()?)))
            .max_by_key(|(_, vote)| (vote.term_history.last_term(), vote.flush_lsn))
    }

    fn announce_to_idle(&mut self) {
        for index in 0..self.peers.len() {
            if self.peers[index].phase == Phase::Idle
                && let Some(vote) = self.peers[index].vote.clone()
            {
                self.announce_election(index, &vote);
            }
        }
    }

    /// Tells one safekeeper about the election and where its log is cut, then
    /// starts streaming there.
    fn announce_election(&mut self, index: usize, vote: &VoteResponse) {
        let Some(leadership) = &self.leadership else { return };
        let common = leadership.history.highest_common_point(&vote.term_history, vote.flush_lsn);
        let common = match common {
            Ok(common) => common,
            Err(conflict) => return self.close(index, conflict.into()),
        };
        // Nothing in common: an empty log, or the lone tail of a dead bootstrap.
        let first = leadership.history.0.first().copied();
        let start_streaming_at = common.or(first).map_or(Lsn::INVALID, |point| point.lsn);
        let elected = ProposerElected {
            term: self.term,
            start_streaming_at,
            term_history: leadership.history.clone(),
            timeline_start_lsn: leadership.timeline_start_lsn,
        };
        // Within our own term the log is ours up to its end; otherwise what was
        // reported on an older connection may be gone.
        let is_ours = vote.term_history.last_term() == self.term;
        let flush_lsn = if is_ours { vote.flush_lsn } else { Lsn::INVALID };
        let peer = &mut self.peers[index];
        peer.last_response.flush_lsn = flush_lsn;
        peer.phase = Phase::Active(Stream::starting_at(start_streaming_at));
        self.send(index, &ProposerMessage::Elected(elected));
        self.push(index);
    }

    fn skip_page_header(&self, lsn: Lsn) -> Lsn {
        lsn.normalize(u64::from(self.config.wal_seg_size))
    }
}
