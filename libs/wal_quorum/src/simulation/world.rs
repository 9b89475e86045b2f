//! The discrete-event kernel: one queue, one clock, one generator.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use utils::Lsn;

use super::chain::Chain;
use super::compute::{Compute, append_payload};
use super::disk::DiskFault;
use super::network::{Link, LinkId, Network, NetworkOptions};
use super::oracle::Oracle;
use super::platform::Platform;
use super::safekeeper::{Reply, Safekeeper};
use super::schedule::Disturbance;
use crate::messages::{AcceptorMessage, AppendRequestHeader};
use crate::proposer::{Action, Event, WalSource};
use crate::term_history::Term;

/// A safety rule left out on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutation {
    #[default]
    None,
    /// Acceptors write WAL of leaders of bygone terms.
    NoTermCheckOnAppend,
    /// Proposers commit WAL of earlier terms by counting.
    NoEpochStartRule,
    /// The new history is stored before the old tail is cut.
    TruncationAfterHistory,
    /// Acceptors answer before WAL is durable.
    NoSyncBeforeAnswer,
}

/// What will happen at some time.
#[derive(Debug)]
pub enum Happening {
    Connected(LinkId),
    Refused(LinkId),
    ToSafekeeper(LinkId, Bytes),
    ToCompute(LinkId, Bytes),
    ClosedAtCompute(LinkId),
    /// Looks whether a side heard something lately.
    Keepalive {
        link: LinkId,
        at_safekeeper: bool,
    },
    WalSent(LinkId),
    DonorFetch {
        link: LinkId,
        donor: usize,
        header: AppendRequestHeader,
    },
    Flush(LinkId),
    Tick(usize),
    StartSafekeeper(usize),
    StartChain(usize),
    /// The database tells its proposer how far its WAL goes.
    WalWritten {
        compute: usize,
        end_lsn: Lsn,
    },
    /// A sync ended; a database starts.
    Launch {
        chain: usize,
        lsn: Lsn,
    },
    Gossip,
    Disturb(Disturbance),
}

/// Everything.
#[derive(Debug)]
pub struct World<P: Platform> {
    pub now_ms: u64,
    pub rng: StdRng,
    pub network: Network,
    pub safekeepers: Vec<Safekeeper<P>>,
    pub computes: Vec<Compute>,
    pub chains: Vec<Chain>,
    pub oracle: Oracle,
    /// Folds everything that happened, for comparing runs.
    pub digest: u32,
    pub mutation: Mutation,
    pub max_append_bytes: u64,
    pub trace: bool,
    /// Whether a sync is followed by a database.
    pub launches: bool,
    pub rivals_allowed: bool,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    /// Links that the compute's side gave up; what is in flight still arrives.
    abandoned: BTreeSet<LinkId>,
}

impl<P: Platform> World<P> {
    pub fn new(seed: u64, count: usize, options: NetworkOptions, mutation: Mutation) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let fault = match mutation {
            Mutation::TruncationAfterHistory => DiskFault::TruncatesLate,
            Mutation::NoSyncBeforeAnswer => DiskFault::IgnoresFlush,
            Mutation::None | Mutation::NoTermCheckOnAppend | Mutation::NoEpochStartRule => {
                DiskFault::None
            }
        };
        let mut safekeepers: Vec<_> =
            (0..count).map(|index| Safekeeper::new(index, rng.random(), fault)).collect();
        for safekeeper in &mut safekeepers {
            safekeeper.accepts_bygone_terms = mutation == Mutation::NoTermCheckOnAppend;
        }
        let mut world = Self {
            now_ms: 0,
            network: Network::new(options, count),
            safekeepers,
            computes: Vec::new(),
            chains: Vec::new(),
            oracle: Oracle::new(count, P::START),
            digest: 0,
            mutation,
            max_append_bytes: [64, 256, 4096][rng.random_range(0..3)],
            trace: false,
            launches: true,
            rivals_allowed: true,
            rng,
            queue: BTreeMap::new(),
            sequence: 0,
            abandoned: BTreeSet::new(),
        };
        world.after(500, Happening::Gossip);
        world
    }

    pub fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.at(self.now_ms + delay_ms, happening);
    }

    pub fn at(&mut self, time_ms: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((time_ms, self.sequence), happening);
    }

    fn after_network_delay(&mut self, happening: Happening) {
        let delay_ms = self.network.delay_ms(&mut self.rng);
        self.after(delay_ms, happening);
    }

    pub fn run_until(&mut self, end_ms: u64) {
        while let Some(entry) = self.queue.first_entry() {
            let (time_ms, sequence) = *entry.key();
            if time_ms > end_ms {
                break;
            }
            let happening = entry.remove();
            self.now_ms = time_ms;
            let fold = [time_ms.to_le_bytes(), sequence.to_le_bytes()].concat();
            self.digest = crc32c::crc32c_append(self.digest, &fold);
            if self.trace {
                eprintln!("{time_ms:6} {happening:?}");
            }
            self.happen(happening);
        }
        self.now_ms = end_ms;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected(link) => self.connected(link),
            Happening::Refused(link) | Happening::ClosedAtCompute(link) => {
                self.abandoned.insert(link);
                self.feed(link.compute, Event::Disconnected(link.connection));
            }
            Happening::ToSafekeeper(link, payload) => self.deliver_to_safekeeper(link, payload),
            Happening::ToCompute(link, payload) => self.deliver_to_compute(link, payload),
            Happening::Keepalive { link, at_safekeeper } => self.keepalive(link, at_safekeeper),
            Happening::WalSent(link) => self.feed(link.compute, Event::WalSent(link.connection)),
            Happening::DonorFetch { link, donor, header } => {
                self.fetch_from_donor(link, donor, header);
            }
            Happening::Flush(link) => {
                let index = link.connection.safekeeper;
                let reply = self.safekeepers[index].flush(link);
                self.carry_out_reply(index, Some(link), reply);
            }
            Happening::Tick(compute) => self.tick(compute),
            Happening::StartSafekeeper(index) => {
                if self.safekeepers[index].acceptor.is_none() {
                    self.safekeepers[index].start();
                    self.oracle.restarted(index);
                    self.oracle.check_safekeeper(index, &self.safekeepers);
                }
            }
            Happening::StartChain(chain) => self.start_sync(chain),
            Happening::WalWritten { compute, end_lsn } => {
                self.feed(compute, Event::WalAvailable { end_lsn });
            }
            Happening::Launch { chain, lsn } => self.launch_after_sync(chain, lsn),
            Happening::Gossip => self.gossip(),
            Happening::Disturb(disturbance) => self.disturb(disturbance),
        }
    }

    pub fn tick(&mut self, compute: usize) {
        self.feed(compute, Event::Tick);
        if self.computes[compute].running {
            let wakeup_ms = self.computes[compute].proposer.next_wakeup_ms();
            self.at(wakeup_ms.max(self.now_ms + 1), Happening::Tick(compute));
        }
    }

    /// Hands an event to a proposer and carries out what it wants.
    pub fn feed(&mut self, compute: usize, event: Event) {
        if !self.computes[compute].running {
            return;
        }
        let actions = self.computes[compute].proposer.handle(self.now_ms, event);
        for action in actions {
            if self.trace {
                eprintln!("       compute {compute}: {action:?}");
            }
            self.carry_out(compute, action);
        }
    }

    fn carry_out(&mut self, compute: usize, action: Action) {
        match action {
            Action::Connect(connection) => self.connect(LinkId { compute, connection }),
            Action::Disconnect { connection, .. } => {
                self.abandoned.insert(LinkId { compute, connection });
            }
            Action::Send { connection, payload } => {
                self.send_to_safekeeper(LinkId { compute, connection }, payload);
            }
            Action::SendWal { connection, header, source } => {
                self.send_wal(LinkId { compute, connection }, header, source);
            }
            Action::Elected(election) => self.elected(compute, election),
            Action::Committed { lsn } => {
                let term = self.computes[compute].proposer.status().term;
                self.committed(compute, term, lsn);
            }
            Action::PageserverFeedback(_) | Action::HotStandbyFeedback(_) => {
                panic!("nobody sends feedback here")
            }
            Action::Synced { lsn } => self.synced(compute, lsn),
            Action::Fatal(_) => self.compute_failed(compute),
        }
    }

    pub fn committed(&mut self, compute: usize, term: Term, lsn: Lsn) {
        self.oracle.committed(&self.computes[compute], term, lsn, &self.safekeepers);
    }

    fn connect(&mut self, link: LinkId) {
        let lost = self.rng.random_bool(self.network.options.connect_loss);
        if self.rng.random_bool(0.1) {
            self.after(0, Happening::Refused(link));
        } else if !lost && !self.network.is_cut_off(link.connection.safekeeper, self.now_ms) {
            self.after_network_delay(Happening::Connected(link));
        }
    }

    fn connected(&mut self, link: LinkId) {
        let safekeeper = &mut self.safekeepers[link.connection.safekeeper];
        if safekeeper.acceptor.is_none() {
            return self.after_network_delay(Happening::Refused(link));
        }
        safekeeper.sessions.insert(link);
        let mut sides = Link::default();
        sides.to_compute.heard_ms = self.now_ms;
        sides.to_safekeeper.heard_ms = self.now_ms;
        self.network.links.insert(link, sides);
        let keepalive_ms = self.network.options.keepalive_ms;
        for at_safekeeper in [true, false] {
            self.after(keepalive_ms, Happening::Keepalive { link, at_safekeeper });
        }
        self.feed(link.compute, Event::Connected(link.connection));
    }

    fn keepalive(&mut self, link: LinkId, at_safekeeper: bool) {
        let Some(sides) = self.network.links.get(&link) else { return };
        let side = if at_safekeeper { sides.to_safekeeper } else { sides.to_compute };
        let closes_ms = side.heard_ms + self.network.options.keepalive_ms;
        if closes_ms > self.now_ms {
            return self.at(closes_ms, Happening::Keepalive { link, at_safekeeper });
        }
        if at_safekeeper {
            self.safekeepers[link.connection.safekeeper].sessions.remove(&link);
        } else {
            self.happen(Happening::ClosedAtCompute(link));
        }
    }

    fn send_to_safekeeper(&mut self, link: LinkId, payload: Bytes) {
        let arrival_ms = self.network.send(link, true, self.now_ms, &mut self.rng);
        if let Some(arrival_ms) = arrival_ms {
            self.at(arrival_ms, Happening::ToSafekeeper(link, payload));
        }
    }

    fn send_wal(&mut self, link: LinkId, mut header: AppendRequestHeader, source: WalSource) {
        let compute = &self.computes[link.compute];
        header.commit_lsn = header.commit_lsn.max(compute.miscounted_lsn);
        match source {
            WalSource::Donor { safekeeper: donor, .. } => {
                self.after_network_delay(Happening::DonorFetch { link, donor, header });
            }
            WalSource::Local | WalSource::Database => {
                let payload = if header.wal_bytes() == 0 {
                    append_payload(&header, &[])
                } else {
                    if source == WalSource::Local {
                        assert!(header.begin_lsn >= compute.window_start_lsn, "below the window");
                    }
                    let database = compute.database.as_ref().expect("sync has no WAL");
                    let wal = database.read(header.begin_lsn, header.end_lsn);
                    append_payload(&header, wal.expect("asked for WAL that exists"))
                };
                self.send_to_safekeeper(link, payload);
                let delay_ms = self.rng.random_range(0..3);
                self.after(delay_ms, Happening::WalSent(link));
            }
        }
    }

    fn fetch_from_donor(&mut self, link: LinkId, donor: usize, header: AppendRequestHeader) {
        if self.abandoned.contains(&link) {
            return;
        }
        let reachable = !self.network.is_cut_off(donor, self.now_ms);
        let safekeeper = &self.safekeepers[donor];
        let serves = safekeeper.acceptor.as_ref().is_some_and(|acceptor| {
            acceptor.term() == header.term
                && acceptor.last_log_term() == header.term
                && acceptor.flush_lsn() >= header.end_lsn
        });
        if !serves || !reachable {
            return self.happen(Happening::ClosedAtCompute(link));
        }
        let wal = safekeeper.disk.read(header.begin_lsn..header.end_lsn);
        self.send_to_safekeeper(link, append_payload(&header, &wal));
        self.after(0, Happening::WalSent(link));
    }

    fn deliver_to_safekeeper(&mut self, link: LinkId, payload: Bytes) {
        let index = link.connection.safekeeper;
        if !self.safekeepers[index].sessions.contains(&link) {
            return;
        }
        if let Some(sides) = self.network.links.get_mut(&link) {
            sides.to_safekeeper.heard_ms = self.now_ms;
        }
        let reply = self.safekeepers[index].receive(link, payload, &mut self.rng);
        self.carry_out_reply(index, Some(link), reply);
    }

    fn carry_out_reply(&mut self, index: usize, link: Option<LinkId>, reply: Reply) {
        match (reply, link) {
            (Reply::None, _) => {}
            (Reply::Now(payload), Some(link)) => {
                self.digest = crc32c::crc32c_append(self.digest, &payload);
                let arrival_ms = self.network.send(link, false, self.now_ms, &mut self.rng);
                if let Some(arrival_ms) = arrival_ms {
                    self.at(arrival_ms, Happening::ToCompute(link, payload));
                }
            }
            (Reply::AfterFlush, Some(link)) => {
                let delay_ms = self.rng.random_range(0..4);
                self.after(delay_ms, Happening::Flush(link));
            }
            (Reply::Close, Some(link)) => {
                self.safekeepers[index].sessions.remove(&link);
                self.after_network_delay(Happening::ClosedAtCompute(link));
            }
            (Reply::Crash, _) => self.crash_safekeeper(index),
            // A peer's news that cannot be stored come again.
            (Reply::Close, None) => {}
            (reply @ (Reply::Now(_) | Reply::AfterFlush), None) => {
                panic!("{reply:?} outside a session")
            }
        }
        self.oracle.check_safekeeper(index, &self.safekeepers);
    }

    fn deliver_to_compute(&mut self, link: LinkId, payload: Bytes) {
        if let Some(sides) = self.network.links.get_mut(&link) {
            sides.to_compute.heard_ms = self.now_ms;
        }
        if self.trace {
            eprintln!("       {:?}", AcceptorMessage::decode(payload.clone()));
        }
        if self.mutation == Mutation::NoEpochStartRule {
            self.miscount(link, &payload);
        }
        self.feed(link.compute, Event::Received { connection: link.connection, payload });
    }

    /// What a proposer that counts WAL of any term would take for committed.
    fn miscount(&mut self, link: LinkId, payload: &Bytes) {
        let Ok(AcceptorMessage::AppendResponse(response)) =
            AcceptorMessage::decode(payload.clone())
        else {
            return;
        };
        let quorum = self.safekeepers.len() / 2 + 1;
        let compute = &mut self.computes[link.compute];
        let term = compute.proposer.status().term;
        if !compute.running || response.term != term || self.abandoned.contains(&link) {
            return;
        }
        compute.counted_lsns.insert(link.connection.safekeeper, response.flush_lsn);
        let mut positions: Vec<_> = compute.counted_lsns.values().copied().collect();
        positions.sort_unstable_by(|left, right| right.cmp(left));
        let lsn = positions.get(quorum - 1).copied().unwrap_or(Lsn::INVALID);
        if lsn > compute.miscounted_lsn {
            compute.miscounted_lsn = lsn;
            self.committed(link.compute, term, lsn);
        }
    }

    fn gossip(&mut self) {
        let from = self.rng.random_range(0..self.safekeepers.len());
        let to = self.rng.random_range(0..self.safekeepers.len());
        let cut_off = [from, to].iter().any(|index| self.network.is_cut_off(*index, self.now_ms));
        if let Some(peer) = self.safekeepers[from].peer_info().filter(|_| !cut_off) {
            let reply = self.safekeepers[to].record_peer(&peer);
            self.carry_out_reply(to, None, reply);
        }
        let delay_ms = self.rng.random_range(50..1000);
        self.after(delay_ms, Happening::Gossip);
    }

    pub fn crash_safekeeper(&mut self, index: usize) {
        for link in std::mem::take(&mut self.safekeepers[index].sessions) {
            if self.rng.random() {
                self.after_network_delay(Happening::ClosedAtCompute(link));
            }
        }
        self.safekeepers[index].crash();
        let delay_ms = self.rng.random_range(1..1500);
        self.after(delay_ms, Happening::StartSafekeeper(index));
    }

    pub fn break_links(&mut self, safekeeper: usize) {
        for (link, sides) in &mut self.network.links {
            if link.connection.safekeeper == safekeeper {
                sides.to_safekeeper.broken |= self.rng.random::<bool>();
                sides.to_compute.broken |= self.rng.random::<bool>();
            }
        }
    }
}
