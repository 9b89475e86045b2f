//! Driving the proposers: feeding events, and carrying out what they ask for.

use std::collections::VecDeque;

use super::START;
use super::world::World;
use super::writer::Link;
use crate::messages::AppendRequestHeader;
use crate::proposer::{Action, ConnectionId, Election, Event, WalSource};
use crate::simulation::compute::append_payload;

impl World {
    /// Feeds an event to a proposer and carries out what it asks for.
    pub(super) fn feed(&mut self, number: usize, event: Event) -> Result<(), String> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let writer = &mut self.writers[number];
            let Some(proposer) = &mut writer.proposer else { return Ok(()) };
            for action in proposer.handle(writer.now_ms, event) {
                events.extend(self.carry_out(number, action)?);
                if self.writers[number].proposer.is_none() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, number: usize, action: Action) -> Result<Option<Event>, String> {
        let is_impossible =
            matches!(&action, Action::Elected(won) if self.is_bootstrap_in_the_middle(number, won));
        let writer = &mut self.writers[number];
        match action {
            Action::Connect(connection) => {
                let link = &mut writer.links[connection.safekeeper];
                *link = Link { connection: Some(connection), ..Link::default() };
            }
            Action::Disconnect { connection, .. } => {
                writer.links[connection.safekeeper] = Link::default();
            }
            Action::Send { connection, payload } => {
                writer.links[connection.safekeeper].to_acceptor.push_back(payload);
            }
            Action::SendWal { connection, header, source } => {
                return Ok(Some(self.send_wal(number, connection, &header, source)));
            }
            Action::Elected(_) if is_impossible => writer.proposer = None,
            Action::Elected(election) => {
                writer.elected = Some((election.term, election.epoch_start_lsn));
                let (term, start) = (election.term, election.epoch_start_lsn.max(START));
                self.ghost.elected(number, term, start, election.donor)?;
            }
            Action::Committed { lsn } => {
                let (term, _) = writer.elected.ok_or("a commit before the election")?;
                let database = writer.database();
                self.ghost.commit(number, term, &database, lsn)?;
            }
            Action::Synced { .. } | Action::Fatal(_) => {
                // What it has sent may still arrive.
                writer.term = writer.proposer.take().map_or(0, |ended| ended.status().term);
            }
            Action::PageserverFeedback(_) | Action::HotStandbyFeedback(_) => {}
        }
        Ok(None)
    }

    /// Nobody of the quorum has anything, but the database is made for a later position. No launcher
    /// makes such a one: it agrees with a quorum first, and bases the database on the result.
    fn is_bootstrap_in_the_middle(&self, number: usize, won: &Election) -> bool {
        let donor_has_wal = !self.ghost.votes[number][won.donor].is_empty();
        !donor_has_wal && self.writers[number].redo_start_lsn > START
    }

    fn send_wal(
        &mut self,
        number: usize,
        connection: ConnectionId,
        header: &AppendRequestHeader,
        source: WalSource,
    ) -> Event {
        let (begin, end) = (header.begin_lsn, header.end_lsn);
        let bytes = match source {
            _ if begin == end => Some(Vec::new()),
            WalSource::Local | WalSource::Database => self.writers[number].read(begin, end),
            WalSource::Donor { safekeeper, term } => {
                let donor = &self.acceptors[safekeeper];
                let log = donor.wal().read(begin, end).map(<[u8]>::to_vec);
                log.filter(|_| donor.term() == term)
            }
        };
        let link = &mut self.writers[number].links[connection.safekeeper];
        match bytes {
            Some(bytes) => {
                link.to_acceptor.push_back(append_payload(header, &bytes));
                Event::WalSent(connection)
            }
            None => {
                *link = Link::default();
                Event::Disconnected(connection)
            }
        }
    }
}
