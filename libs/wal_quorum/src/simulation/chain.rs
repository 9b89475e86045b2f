//! Chains of computes: sync, then stream from where sync ended, then sync
//! again after a failure. The first chain never gives up; rivals do.

use rand::Rng;
use utils::Lsn;

use super::compute::{Compute, Database};
use super::network::NetworkOptions;
use super::platform::Platform;
use super::safekeeper::SimulatedAcceptor;
use super::schedule::Disturbance;
use super::world::{Happening, World};
use crate::proposer::{Election, Event};

/// How long healing may take.
const SETTLE_LIMIT_MS: u64 = 60_000;

/// One endpoint's succession of proposers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain {
    /// The running proposer, if any.
    pub compute: Option<usize>,
    /// The position the last sync agreed on.
    pub synced_lsn: Option<Lsn>,
}

impl<P: Platform> World<P> {
    /// Starts a new chain with a sync.
    pub fn start_chain(&mut self) -> usize {
        self.chains.push(Chain::default());
        let chain = self.chains.len() - 1;
        self.start_sync(chain);
        chain
    }

    /// Runs one sync of the first chain to its end.
    pub fn start_sync_and_wait(&mut self) {
        match self.chains.is_empty() {
            true => drop(self.start_chain()),
            false => self.start_sync(0),
        }
        while self.chains[0].compute.is_some() {
            assert!(self.now_ms < SETTLE_LIMIT_MS, "sync does not end");
            self.run_until(self.now_ms + 10);
        }
    }

    pub fn start_sync(&mut self, chain: usize) {
        if self.chains[chain].compute.is_none() {
            self.chains[chain].synced_lsn = None;
            self.start_compute(chain, None);
        }
    }

    /// Starts a database at a position.
    pub fn launch(&mut self, chain: usize, redo_start_lsn: Lsn) {
        self.start_compute(chain, Some(Database::new(redo_start_lsn)));
    }

    fn start_compute(&mut self, chain: usize, database: Option<Database>) {
        let number = self.computes.len();
        let count = self.safekeepers.len();
        let compute = Compute::new(chain, number, database, count, self.max_append_bytes);
        self.computes.push(compute);
        self.chains[chain].compute = Some(number);
        self.tick(number);
    }

    fn stop_compute(&mut self, compute: usize) {
        self.computes[compute].running = false;
        let chain = self.computes[compute].chain;
        if self.chains[chain].compute == Some(compute) {
            self.chains[chain].compute = None;
        }
    }

    pub fn elected(&mut self, compute: usize, election: Election) {
        self.oracle.elected(&election);
        let epoch_start_lsn = election.epoch_start_lsn;
        let running = &mut self.computes[compute];
        running.window_start_lsn = epoch_start_lsn;
        if let Some(database) = &mut running.database {
            database.last_elected_term = election.term;
            assert!(database.end_lsn() >= epoch_start_lsn, "the database misses committed WAL");
        }
        running.election = Some(election);
        self.write_records(compute);
    }

    /// Writes pending records, and tells the proposer where its WAL ends.
    fn write_records(&mut self, compute: usize) {
        let running = &mut self.computes[compute];
        if let (Some(database), Some(_)) = (&mut running.database, &running.election) {
            database.write::<P>(&mut running.pending_records, &mut self.rng);
            let end_lsn = database.end_lsn();
            self.at(self.now_ms, Happening::WalWritten { compute, end_lsn });
        }
    }

    pub fn synced(&mut self, compute: usize, lsn: Lsn) {
        self.stop_compute(compute);
        let chain = self.computes[compute].chain;
        self.chains[chain].synced_lsn = Some(lsn);
        self.after(0, Happening::Launch { chain, lsn });
    }

    pub fn launch_after_sync(&mut self, chain: usize, lsn: Lsn) {
        let allowed = self.launches && (chain == 0 || self.rivals_allowed);
        if self.chains[chain].compute.is_none() && allowed {
            self.launch(chain, if lsn.is_valid() { lsn } else { P::START });
        }
    }

    pub fn compute_failed(&mut self, compute: usize) {
        self.stop_compute(compute);
        let chain = self.computes[compute].chain;
        if chain == 0 {
            let delay_ms = self.rng.random_range(1..500);
            self.after(delay_ms, Happening::StartChain(chain));
        }
    }

    pub fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::Write(records) => {
                for compute in 0..self.computes.len() {
                    if self.computes[compute].running {
                        self.computes[compute].pending_records += records;
                        self.write_records(compute);
                    }
                }
            }
            Disturbance::CrashSafekeeper(index) => self.crash_safekeeper(index),
            Disturbance::CrashSafekeeperDuringWork(index, operations) => {
                self.safekeepers[index].disk.fail_after(operations);
            }
            Disturbance::FailSync(index) => {
                if self.safekeepers[index].acceptor.is_some() {
                    self.safekeepers[index].disk.fail_next_sync();
                }
            }
            Disturbance::CrashCompute => {
                if let Some(compute) = self.chains[0].compute {
                    self.compute_failed(compute);
                }
            }
            Disturbance::RestartProposer => self.restart_proposer(),
            Disturbance::CutOff(index, duration_ms) => {
                self.network.cut_off_until_ms[index] = self.now_ms + duration_ms;
            }
            Disturbance::BreakLinks(index) => self.break_links(index),
            Disturbance::StartRival => drop(self.start_chain()),
            Disturbance::TrimWindow => self.trim_window(),
        }
    }

    fn restart_proposer(&mut self) {
        let Some(compute) = self.chains[0].compute else { return };
        if let Some(database) = self.computes[compute].database.clone() {
            self.stop_compute(compute);
            self.start_compute(0, Some(database));
        }
    }

    fn trim_window(&mut self) {
        let Some(compute) = self.chains[0].compute else { return };
        let running = &mut self.computes[compute];
        let commit_lsn = running.proposer.status().commit_lsn;
        if commit_lsn > running.window_start_lsn {
            let range = running.window_start_lsn.0..=commit_lsn.0;
            let start_lsn = Lsn(self.rng.random_range(range));
            running.window_start_lsn = start_lsn;
            self.feed(compute, Event::LocalWindow { start_lsn });
        }
    }

    /// Ends all trouble, then requires that the first chain commits new WAL and
    /// that all safekeepers come to hold it.
    pub fn settle(&mut self) {
        self.network.options = NetworkOptions::reliable();
        self.network.cut_off_until_ms.fill(0);
        for compute in 0..self.computes.len() {
            if self.computes[compute].chain != 0 {
                self.stop_compute(compute);
            }
        }
        self.rivals_allowed = false;
        self.start_sync(0);
        let deadline_ms = self.now_ms + SETTLE_LIMIT_MS;
        let mut written = None;
        loop {
            self.run_until(self.now_ms + 200);
            self.restart_poisoned();
            assert!(self.now_ms < deadline_ms, "no progress although all trouble has ended");
            let Some(compute) = self.chains[0].compute else { continue };
            if self.computes[compute].election.is_none()
                || self.computes[compute].database.is_none()
            {
                continue;
            }
            if written != Some(compute) {
                written = Some(compute);
                self.disturb(Disturbance::Write(3));
            } else if self.is_settled(compute) {
                return;
            }
        }
    }

    /// What an operator does about a disk that failed to sync.
    fn restart_poisoned(&mut self) {
        for index in 0..self.safekeepers.len() {
            if self.safekeepers[index].disk.needs_restart() {
                self.crash_safekeeper(index);
            }
        }
    }

    fn is_settled(&self, compute: usize) -> bool {
        let Some(database) = &self.computes[compute].database else { return false };
        let end_lsn = database.end_lsn();
        let term = self.computes[compute].proposer.status().term;
        // A stale tail can end at the same position by chance.
        let flushed = |acceptor: &SimulatedAcceptor<P>| {
            acceptor.last_log_term() == term && acceptor.flush_lsn() == end_lsn
        };
        let everywhere = self
            .safekeepers
            .iter()
            .all(|safekeeper| safekeeper.acceptor.as_ref().is_some_and(flushed));
        let settled = everywhere && self.computes[compute].proposer.status().commit_lsn == end_lsn;
        if settled {
            assert_eq!(self.oracle.committed_lsn(), end_lsn);
            for safekeeper in &self.safekeepers {
                assert!(self.oracle.matches(&safekeeper.disk), "settled logs differ");
            }
        }
        settled
    }
}
