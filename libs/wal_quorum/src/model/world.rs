//! The system as a value: what it consists of, the steps it can take, and what each does.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use utils::{Lsn, NodeId, TenantTimelineId};

use super::ghost::Ghost;
use super::storage::{Fuse, ModelControl, ModelWal};
use super::writer::{TICK_MS, Writer};
use super::{ACCEPTORS, Beginning, Bounds, Mutation, QUORUM, Role, START, check};
use crate::INVALID_TERM;
use crate::acceptor::{Acceptor, AcceptorError};
use crate::control_file::{ControlFile, ServerInfo};
use crate::messages::{AcceptorMessage, AppendRequest, AppendResponse, ProposerMessage};
use crate::proposer::Event;
use crate::simulation::safekeeper::{PG_VERSION, TENANT, TIMELINE, WAL_SEG_SIZE};
use crate::state::TimelineState;
use crate::storage::WalStorage;

pub(super) type ModelAcceptor = Acceptor<ModelWal, ModelControl>;

/// Where power fails while a message is handled: before so many operations of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Wal(u8),
    Control(u8),
}

/// Anything that can happen next. Numbers are those of a proposer and an acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The proposer starts; its database was made for this position.
    Start(usize, Lsn),
    /// The two connect and greet each other.
    Greet(usize, usize),
    /// The acceptor handles the next message, perhaps only half.
    Deliver(usize, usize, Option<Failure>),
    /// The proposer handles the next answer.
    Answer(usize, usize),
    /// The leader's database writes a record.
    Write(usize),
    /// The proposer's timer fires.
    Tick(usize),
    /// The acceptor loses its power between two messages.
    Crash(usize),
}

/// A state of the whole system.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) acceptors: Vec<ModelAcceptor>,
    pub(super) writers: Vec<Writer>,
    pub(super) ghost: Ghost,
    crashes_left: u8,
    ticks_left: u8,
    records: u64,
    mutation: Mutation,
}

impl World {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let empty = Self {
            acceptors: (0..ACCEPTORS).map(|_| empty_acceptor(bounds.mutation)).collect(),
            writers: bounds
                .roles
                .iter()
                .zip(&bounds.reach)
                .map(|(role, reach)| Writer::new(*role, reach))
                .collect(),
            ghost: Ghost::new(bounds.roles.len()),
            crashes_left: bounds.crashes,
            ticks_left: bounds.ticks,
            records: bounds.records,
            mutation: bounds.mutation,
        };
        match bounds.beginning {
            Beginning::Empty => empty,
            Beginning::Led => empty.led(),
            Beginning::Diverged => empty.diverged(),
        }
    }

    /// Elects the first proposer by the first two acceptors, without telling them.
    fn led(mut self) -> Self {
        self.elect(0, [(0, 0), (0, 1)]);
        self
    }

    /// Lets two leaders leave tails behind, then forgets the leaders.
    fn diverged(self) -> Self {
        let mut past = self.clone();
        past.records = 2;
        past.writers = vec![Writer::new(Role::Stream, &[]); 2];
        past.ghost = Ghost::new(2);
        let first = [(0, 0), (0, 2)];
        past.lead(0, first, 2);
        past.lead(1, [(1, 1), (1, 2)], 1);
        assert_eq!(past.ghost.committed_lsn(), START, "nothing of it was committed");
        Self { acceptors: past.acceptors, ..self }
    }

    fn elect(&mut self, writer: usize, voters: [(usize, usize); QUORUM]) {
        let mut take = |step| self.take(step).expect("an orderly past");
        take(Step::Start(writer, START));
        voters.iter().for_each(|&(writer, acceptor)| take(Step::Greet(writer, acceptor)));
        let deliveries = voters.map(|(writer, acceptor)| Step::Deliver(writer, acceptor, None));
        deliveries.into_iter().for_each(&mut take);
        voters.iter().for_each(|&(writer, acceptor)| take(Step::Answer(writer, acceptor)));
    }

    /// Elects a proposer by two acceptors, and fills the first one with records.
    fn lead(&mut self, writer: usize, voters: [(usize, usize); QUORUM], records: u64) {
        self.elect(writer, voters);
        for _ in 0..records {
            self.take(Step::Write(writer)).expect("an orderly past");
        }
        let (writer, acceptor) = voters[0];
        while !self.writers[writer].links[acceptor].to_acceptor.is_empty() {
            self.take(Step::Deliver(writer, acceptor, None)).expect("an orderly past");
        }
    }

    /// Everything that can happen next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, writer) in self.writers.iter().enumerate() {
            if !writer.was_started {
                steps.extend(self.starts(number));
            }
            for acceptor in 0..ACCEPTORS {
                self.steps_of_link(number, acceptor, &mut steps);
            }
            let lives = writer.proposer.is_some();
            let leads = lives && writer.elected.is_some() && writer.role == Role::Stream;
            if leads && writer.records < self.records {
                steps.push(Step::Write(number));
            }
            if lives && self.ticks_left > 0 {
                steps.push(Step::Tick(number));
            }
        }
        if self.crashes_left > 0 {
            steps.extend((0..ACCEPTORS).map(Step::Crash));
        }
        steps
    }

    /// A database can have been made for the end of any acceptor's log; the proposer finds out
    /// whether it was the right one.
    fn starts(&self, number: usize) -> impl Iterator<Item = Step> + use<> {
        let mut ends: Vec<Lsn> =
            self.acceptors.iter().map(|acceptor| acceptor.flush_lsn().max(START)).collect();
        ends.sort_unstable();
        ends.dedup();
        if self.writers[number].role == Role::Sync {
            ends.truncate(1);
        }
        ends.into_iter().map(move |end| Step::Start(number, end))
    }

    fn steps_of_link(&self, number: usize, acceptor: usize, steps: &mut Vec<Step>) {
        let writer = &self.writers[number];
        let link = &writer.links[acceptor];
        let is_offered = link.connection.is_some() && !link.is_greeted;
        if writer.proposer.is_some() && is_offered && writer.reach[acceptor] {
            steps.push(Step::Greet(number, acceptor));
        }
        if writer.proposer.is_some() && !link.to_proposer.is_empty() {
            steps.push(Step::Answer(number, acceptor));
        }
        if link.to_acceptor.is_empty() {
            return;
        }
        steps.push(Step::Deliver(number, acceptor, None));
        if self.crashes_left > 0 {
            // No message takes more operations of either kind.
            let failures = (0..3).map(Failure::Wal).chain((0..2).map(Failure::Control));
            steps.extend(failures.map(|failure| Step::Deliver(number, acceptor, Some(failure))));
        }
    }

    /// Takes one step. An error is a broken promise.
    pub(super) fn take(&mut self, step: Step) -> Result<(), String> {
        self.carry_on(step)?;
        self.deliver_what_is_refused()?;
        self.forget_what_cannot_matter();
        Ok(())
    }

    /// An acceptor that has promised more since does nothing with a message but refuse it, whenever
    /// it comes, and the first refusal that a proposer hears of is the last thing it hears. So it
    /// is enough to look at runs in which such messages arrive at once and are refused once.
    fn deliver_what_is_refused(&mut self) -> Result<(), String> {
        if self.mutation == Mutation::NoTermCheckOnAppend {
            return Ok(());
        }
        for writer in 0..self.writers.len() {
            let Some(proposer) = &self.writers[writer].proposer else { continue };
            let term = proposer.status().term;
            for acceptor in 0..ACCEPTORS {
                let refuses = term != INVALID_TERM && term < self.acceptors[acceptor].term();
                while refuses && !self.writers[writer].links[acceptor].to_acceptor.is_empty() {
                    let answers = self.writers[writer].links[acceptor].to_proposer.len();
                    self.deliver(writer, acceptor)?;
                    let link = &mut self.writers[writer].links[acceptor];
                    if link.to_proposer.len() > answers
                        && std::mem::replace(&mut link.is_refused, true)
                    {
                        link.to_proposer.pop_back();
                    }
                }
            }
        }
        Ok(())
    }

    /// Answers to the dead, and messages of the dead that an acceptor would ignore because it has
    /// promised more since, change nothing whenever they arrive: states that differ only in
    /// them are made equal.
    fn forget_what_cannot_matter(&mut self) {
        for writer in self.writers.iter_mut().filter(|writer| writer.proposer.is_none()) {
            for (link, acceptor) in writer.links.iter_mut().zip(&self.acceptors) {
                link.connection = None;
                link.to_proposer.clear();
                let is_ignored = writer.term < acceptor.term();
                if is_ignored && self.mutation != Mutation::NoTermCheckOnAppend {
                    link.to_acceptor.clear();
                }
            }
        }
    }

    fn carry_on(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Start(writer, redo_start_lsn) => {
                self.writers[writer].start(redo_start_lsn);
                self.feed(writer, Event::Tick)
            }
            Step::Greet(writer, acceptor) => self.greet(writer, acceptor),
            Step::Deliver(writer, acceptor, None) => self.deliver(writer, acceptor),
            Step::Deliver(writer, acceptor, Some(failure)) => {
                self.deliver_half(writer, acceptor, failure)
            }
            Step::Answer(writer, acceptor) => self.answer(writer, acceptor),
            Step::Write(writer) => {
                self.writers[writer].records += 1;
                let end_lsn = self.writers[writer].database_end();
                self.feed(writer, Event::WalAvailable { end_lsn })
            }
            Step::Tick(writer) => {
                self.ticks_left -= 1;
                self.writers[writer].now_ms += TICK_MS;
                self.feed(writer, Event::Tick)
            }
            Step::Crash(acceptor) => self.crash(acceptor),
        }
    }

    /// Greetings change nothing at an acceptor but the server's number, so that both can be one
    /// step; *when* it is taken still decides which term the acceptor speaks of.
    fn greet(&mut self, writer: usize, acceptor: usize) -> Result<(), String> {
        let link = &mut self.writers[writer].links[acceptor];
        link.is_greeted = true;
        let connection = link.connection.ok_or("greeted without a connection")?;
        self.feed(writer, Event::Connected(connection))?;
        self.deliver(writer, acceptor)?;
        self.answer(writer, acceptor)
    }

    fn deliver(&mut self, writer: usize, number: usize) -> Result<(), String> {
        let Some(payload) = self.writers[writer].links[number].to_acceptor.pop_front() else {
            return Ok(());
        };
        let message = ProposerMessage::decode(payload).map_err(|error| error.to_string())?;
        let before = self.acceptors[number].clone();
        let asks_for_vote = matches!(message, ProposerMessage::VoteRequest(_));
        let outcome = self.handle(number, message);
        let acceptor = &self.acceptors[number];
        check::only_grew(&before, acceptor)?;
        match outcome {
            Ok(Some(answer)) => {
                if asks_for_vote && acceptor.term() > before.term() {
                    self.ghost.votes[writer][number] = acceptor.wal().durable().to_vec();
                }
                self.writers[writer].links[number].to_proposer.push_back(answer.encode());
                Ok(())
            }
            Ok(None) => Ok(()),
            // Races that the protocol knows: the session ends.
            Err(AcceptorError::WouldOverwrite { .. } | AcceptorError::Storage { .. }) => {
                self.disconnect(writer, number)
            }
            Err(error) => Err(format!("acceptor {number} refused: {error}")),
        }
    }

    fn handle(
        &mut self,
        number: usize,
        message: ProposerMessage,
    ) -> Result<Option<AcceptorMessage>, AcceptorError> {
        let acceptor = &mut self.acceptors[number];
        match message {
            ProposerMessage::AppendRequest(request)
                if self.mutation == Mutation::NoTermCheckOnAppend
                    && request.header.term < acceptor.term() =>
            {
                Ok(append_regardless_of_term(acceptor, &request))
            }
            other => acceptor.process(other),
        }
    }

    /// The acceptor begins to handle a message, and power fails.
    fn deliver_half(
        &mut self,
        writer: usize,
        number: usize,
        failure: Failure,
    ) -> Result<(), String> {
        let Some(payload) = self.writers[writer].links[number].to_acceptor.pop_front() else {
            return Ok(());
        };
        let message = ProposerMessage::decode(payload).map_err(|error| error.to_string())?;
        let untouched = self.acceptors[number].wal().clone();
        let is_announcement = matches!(message, ProposerMessage::Elected(_));
        let acceptor = &mut self.acceptors[number];
        let swaps = self.mutation == Mutation::TruncationAfterHistory && is_announcement;
        if swaps && failure == Failure::Wal(0) {
            // The other order: the history is stored, the tail not cut yet.
            let outcome = acceptor.process(message);
            if outcome.is_ok() {
                *acceptor.wal_mut() = untouched;
            }
            return self.crash(number);
        }
        match failure {
            Failure::Wal(count) => acceptor.wal_mut().fuse = Fuse(Some(count)),
            Failure::Control(count) => {
                acceptor.state_mut().store_mut().fuse = Fuse(Some(count));
            }
        }
        // Whatever it answers does not leave the machine.
        let _ = acceptor.process(message);
        self.crash(number)
    }

    /// Power is gone and returns: what was not durable is lost, and so are all connections.
    fn crash(&mut self, number: usize) -> Result<(), String> {
        self.crashes_left -= 1;
        let (state, wal) = self.acceptors[number].clone().into_parts();
        let file = state.store().file.clone().ok_or("an acceptor without a control file")?;
        self.acceptors[number] = open(file, wal.after_power_failure());
        for writer in 0..self.writers.len() {
            self.disconnect(writer, number)?;
        }
        Ok(())
    }

    fn disconnect(&mut self, writer: usize, acceptor: usize) -> Result<(), String> {
        let link = std::mem::take(&mut self.writers[writer].links[acceptor]);
        match link.connection {
            Some(connection) if link.is_greeted => {
                self.feed(writer, Event::Disconnected(connection))
            }
            // Nobody was connected; the attempt goes on.
            connection => {
                self.writers[writer].links[acceptor].connection = connection;
                Ok(())
            }
        }
    }

    fn answer(&mut self, writer: usize, acceptor: usize) -> Result<(), String> {
        let link = &mut self.writers[writer].links[acceptor];
        let (Some(payload), Some(connection)) = (link.to_proposer.pop_front(), link.connection)
        else {
            return Ok(());
        };
        if self.mutation == Mutation::NoEpochStartRule {
            self.miscount(writer, acceptor, &payload)?;
        }
        self.feed(writer, Event::Received { connection, payload })
    }

    /// What a proposer that counts WAL of any term would take for committed.
    fn miscount(&mut self, number: usize, acceptor: usize, payload: &Bytes) -> Result<(), String> {
        let decoded = AcceptorMessage::decode(payload.clone());
        let writer = &mut self.writers[number];
        let (Ok(AcceptorMessage::AppendResponse(response)), Some((term, _))) =
            (decoded, writer.elected)
        else {
            return Ok(());
        };
        if response.term != term {
            return Ok(());
        }
        writer.counted[acceptor] = response.flush_lsn;
        let mut counted = writer.counted;
        counted.sort_unstable_by(|left, right| right.cmp(left));
        let lsn = counted[QUORUM - 1];
        let database = writer.database();
        match lsn > self.ghost.committed_lsn() {
            true => self.ghost.commit(number, term, &database, lsn),
            false => Ok(()),
        }
    }

    /// The same for states that differ only in the numbers of the acceptors, and of proposers that
    /// are for the same and reach the same.
    pub(super) fn fingerprint(&self) -> u64 {
        let order: Vec<usize> = (0..self.writers.len()).collect();
        let fingerprint = self.fingerprint_in(&order);
        match self.writers.as_slice() {
            [one, other] if one.role == other.role && one.reach == other.reach => {
                fingerprint.min(self.fingerprint_in(&[1, 0]))
            }
            _ => fingerprint,
        }
    }

    /// With the proposers numbered in this order.
    fn fingerprint_in(&self, order: &[usize]) -> u64 {
        let mut parts: Vec<u64> =
            (0..ACCEPTORS).map(|index| self.hash_acceptor(index, order)).collect();
        parts.sort_unstable();
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        (self.crashes_left, self.ticks_left).hash(&mut hasher);
        for &writer in order {
            self.writers[writer].hash_rest(&mut hasher);
            self.ghost.hash_proposer(writer, &mut hasher);
        }
        self.ghost.hash_rest(&mut hasher);
        hasher.finish()
    }

    fn hash_acceptor(&self, index: usize, order: &[usize]) -> u64 {
        let mut hasher = DefaultHasher::new();
        let acceptor = &self.acceptors[index];
        let (state, memory) = (acceptor.state(), acceptor.state().memory);
        (state.acceptor_state.term, &state.acceptor_state.term_history).hash(&mut hasher);
        let stored = [state.timeline_start_lsn, state.commit_lsn, state.peer_horizon_lsn];
        (stored, state.server.system_id).hash(&mut hasher);
        [memory.commit_lsn, memory.peer_horizon_lsn, acceptor.term_start_lsn()].hash(&mut hasher);
        acceptor.wal().hash(&mut hasher);
        for &number in order {
            let writer = &self.writers[number];
            writer.hash_acceptor(index, &mut hasher);
            // Votes matter until they have decided.
            if writer.proposer.is_some() && writer.elected.is_none() {
                self.ghost.hash_vote(number, index, &mut hasher);
            }
        }
        hasher.finish()
    }
}

fn empty_acceptor(mutation: Mutation) -> ModelAcceptor {
    let server = ServerInfo { pg_version: PG_VERSION, system_id: 77, wal_seg_size: WAL_SEG_SIZE };
    let ttid = TenantTimelineId::new(TENANT, TIMELINE);
    let file = ControlFile::new(ttid, server, Lsn::INVALID, Lsn::INVALID);
    open(file, ModelWal::new(mutation))
}

/// All acceptors have one number: nothing depends on it, and they are to be alike.
fn open(file: ControlFile, wal: ModelWal) -> ModelAcceptor {
    let control = ModelControl { file: Some(file.clone()), fuse: Fuse::default() };
    Acceptor::new(TimelineState::loaded(control, file), wal, NodeId(1))
}

/// What an acceptor without the check of the term would do.
fn append_regardless_of_term(
    acceptor: &mut ModelAcceptor,
    request: &AppendRequest,
) -> Option<AcceptorMessage> {
    let wal = acceptor.wal_mut();
    let written = match request.wal.is_empty() {
        true => Ok(()),
        false => wal.write_wal(request.header.begin_lsn, &request.wal),
    };
    written.and_then(|()| wal.flush_wal()).ok()?;
    let response = AppendResponse { term: request.header.term, ..acceptor.append_response() };
    Some(AcceptorMessage::AppendResponse(response))
}
