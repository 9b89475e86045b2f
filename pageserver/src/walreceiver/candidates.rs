//! Which safekeeper to receive from. Decisions only: no I/O, no clock; the caller says what
//! time it is.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use postgres_client::ConnectOptions;
use tokio::time::Instant;
use utils::{Lsn, NodeId};

use super::WalReceiverConfig;

const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(15);
const RETRY_GROWTH: f64 = 1.5;

/// What the broker said about one safekeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafekeeperInfo {
    /// End of the committed WAL it knows of.
    pub commit_lsn: Lsn,
    /// Address of its WAL service, host:port.
    pub connstr: String,
    /// Where it runs.
    pub availability_zone: Option<String>,
}

/// Why a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchReason {
    /// There is none.
    NoExistingConnection,
    /// The present one is silent.
    NoKeepAlives,
    /// The present one's safekeeper is far behind.
    LaggingWal,
    /// Another safekeeper is as good and nearer.
    SwitchAvailabilityZone,
    /// The present one does not get on although there is more.
    NoWalTimeout,
}

impl SwitchReason {
    /// The metric's label.
    pub fn name(self) -> &'static str {
        match self {
            SwitchReason::NoExistingConnection => "NoExistingConnection",
            SwitchReason::NoKeepAlives => "NoKeepAlives",
            SwitchReason::LaggingWal => "LaggingWal",
            SwitchReason::SwitchAvailabilityZone => "SwitchAvailabilityZone",
            SwitchReason::NoWalTimeout => "NoWalTimeout",
        }
    }
}

/// How a connection gets on. Published by it with every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionProgress {
    /// The replication stream runs.
    pub is_connected: bool,
    /// WAL has been ingested from it.
    pub has_processed_wal: bool,
    /// When it last said anything.
    pub latest_message: Instant,
    /// When WAL last came.
    pub latest_wal: Instant,
    /// Ingested up to here.
    pub streaming_lsn: Option<Lsn>,
    /// End of the committed WAL at the safekeeper.
    pub commit_lsn: Option<Lsn>,
}

impl ConnectionProgress {
    /// Of a connection that is just being made.
    pub fn starting(now: Instant) -> Self {
        ConnectionProgress {
            is_connected: false,
            has_processed_wal: false,
            latest_message: now,
            latest_wal: now,
            streaming_lsn: None,
            commit_lsn: None,
        }
    }
}

/// The present connection.
#[derive(Clone, Debug)]
pub struct CurrentConnection {
    /// To whom.
    pub node: NodeId,
    /// Where that runs.
    pub availability_zone: Option<String>,
    /// Since when.
    pub started_at: Instant,
    /// How it gets on.
    pub progress: ConnectionProgress,
    /// Committed WAL beyond the connection's, and when it was first heard of.
    discovered_new_wal: Option<(Lsn, Instant)>,
}

impl CurrentConnection {
    /// A connection that is just being made.
    pub fn starting(node: NodeId, availability_zone: Option<String>, now: Instant) -> Self {
        CurrentConnection {
            node,
            availability_zone,
            started_at: now,
            progress: ConnectionProgress::starting(now),
            discovered_new_wal: None,
        }
    }
}

/// A safekeeper to connect to, and why.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Who.
    pub node: NodeId,
    /// What the broker said about it.
    pub info: SafekeeperInfo,
    /// How to reach it.
    pub address: ConnectOptions,
    /// Why.
    pub reason: SwitchReason,
}

#[derive(Debug)]
struct Candidate {
    info: SafekeeperInfo,
    received: Instant,
}

#[derive(Debug)]
struct Retry {
    ends: u32,
    next_attempt: Instant,
}

/// Every safekeeper the broker speaks of.
#[derive(Debug, Default)]
pub struct Candidates {
    known: HashMap<NodeId, Candidate>,
    retries: HashMap<NodeId, Retry>,
}

impl Candidates {
    /// Takes note of what the broker said. Returns whether the safekeeper is new.
    pub fn update(&mut self, node: NodeId, info: SafekeeperInfo, now: Instant) -> bool {
        self.known.insert(node, Candidate { info, received: now }).is_none()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Forgets safekeepers that have been silent for `timeout`, and returns them.
    pub fn remove_silent(&mut self, timeout: Duration, now: Instant) -> Vec<NodeId> {
        let silent = |c: &Candidate| now.saturating_duration_since(c.received) >= timeout;
        let gone: Vec<NodeId> =
            self.known.iter().filter(|(_, c)| silent(c)).map(|(node, _)| *node).collect();
        for node in &gone {
            self.known.remove(node);
            self.retries.remove(node);
        }
        gone
    }

    /// A connection to `node` that was started at `started_at` has ended.
    pub fn connection_ended(&mut self, node: NodeId, started_at: Instant) {
        let retry = self.retries.entry(node).or_insert(Retry { ends: 0, next_attempt: started_at });
        let wait = RETRY_BASE.as_secs_f64() * RETRY_GROWTH.powi(retry.ends.min(64) as i32);
        retry.next_attempt = started_at + Duration::from_secs_f64(wait).min(RETRY_MAX);
        retry.ends += 1;
    }

    /// WAL came from `node`: the next failure is a first one again.
    pub fn connection_succeeded(&mut self, node: NodeId) {
        self.retries.remove(&node);
    }

    /// How long until a safekeeper may be tried again.
    pub fn time_until_retry(&self, now: Instant) -> Option<Duration> {
        let known = |node: &NodeId| self.known.contains_key(node);
        let waits =
            self.retries.iter().filter(|(node, retry)| known(node) && retry.next_attempt > now);
        waits.map(|(_, retry)| retry.next_attempt - now).min()
    }

    /// Decides whether to connect to somebody, given the present connection.
    pub fn choose(
        &self,
        current: Option<&mut CurrentConnection>,
        last_record_lsn: Lsn,
        config: &WalReceiverConfig,
        now: Instant,
    ) -> Option<Choice> {
        let connected_to = current.as_deref().map(|c| c.node);
        let (node, info, address) = self.best(connected_to, now)?;
        let reason = match current {
            None => SwitchReason::NoExistingConnection,
            Some(current) => switch_reason(current, &info, last_record_lsn, config, now)?,
        };
        Some(Choice { node, info, address, reason })
    }

    /// The safekeeper with the most committed WAL that may be tried now.
    fn best(
        &self,
        connected_to: Option<NodeId>,
        now: Instant,
    ) -> Option<(NodeId, SafekeeperInfo, ConnectOptions)> {
        let may_try = |node: &NodeId| self.retries.get(node).is_none_or(|r| r.next_attempt <= now);
        self.known
            .iter()
            .filter(|(node, c)| {
                Some(**node) != connected_to && c.info.commit_lsn.is_valid() && may_try(node)
            })
            .filter_map(|(node, c)| {
                let address = ConnectOptions::parse(&c.info.connstr).ok()?;
                Some((*node, &c.info, address))
            })
            // The id decides between equals, so that choices do not depend on hashing.
            .max_by_key(|(node, info, _)| (info.commit_lsn, *node))
            .map(|(node, info, address)| (node, info.clone(), address))
    }
}

/// Why the candidate is better than the present connection, if it is.
fn switch_reason(
    current: &mut CurrentConnection,
    candidate: &SafekeeperInfo,
    last_record_lsn: Lsn,
    config: &WalReceiverConfig,
    now: Instant,
) -> Option<SwitchReason> {
    let progress = current.progress;
    if now.saturating_duration_since(progress.latest_message) > config.connect_timeout {
        return Some(SwitchReason::NoKeepAlives);
    }
    if !progress.is_connected {
        return None;
    }
    if let Some(commit_lsn) = progress.commit_lsn {
        if candidate.commit_lsn.saturating_sub(commit_lsn) >= config.max_lsn_wal_lag_bytes.get() {
            return Some(SwitchReason::LaggingWal);
        }
        let zone = config.availability_zone.as_ref();
        let nearer = zone.is_some()
            && candidate.availability_zone.as_ref() == zone
            && current.availability_zone.as_ref() != zone;
        if nearer && candidate.commit_lsn >= commit_lsn {
            return Some(SwitchReason::SwitchAvailabilityZone);
        }
    }
    let waiting_since = waiting_since(current, candidate.commit_lsn, last_record_lsn, now)?;
    let waited = now.saturating_duration_since(waiting_since);
    (waited > config.lagging_wal_timeout).then_some(SwitchReason::NoWalTimeout)
}

/// Since when the connection should have delivered more WAL, if it should.
fn waiting_since(
    current: &mut CurrentConnection,
    candidate_commit_lsn: Lsn,
    last_record_lsn: Lsn,
    now: Instant,
) -> Option<Instant> {
    let progress = current.progress;
    let streamed = progress.streaming_lsn.unwrap_or(last_record_lsn);
    let commit_lsn = progress.commit_lsn.unwrap_or(streamed);
    if current.discovered_new_wal.is_some_and(|(lsn, _)| lsn <= commit_lsn) {
        current.discovered_new_wal = None;
    }
    if candidate_commit_lsn <= commit_lsn {
        return None;
    }
    let (_, discovered) = *current.discovered_new_wal.get_or_insert((candidate_commit_lsn, now));
    if streamed < commit_lsn {
        // The safekeeper has WAL but does not send it.
        Some(progress.latest_wal)
    } else {
        Some(discovered.max(progress.latest_wal))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, info) = (self.node, &self.info);
        write!(f, "safekeeper {node} at {}, commit LSN {}", info.connstr, info.commit_lsn)?;
        write!(f, ", because of {}", self.reason.name())
    }
}

/// Text for people: each safekeeper with its committed LSN.
impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nodes: Vec<_> = self.known.iter().collect();
        nodes.sort_by_key(|(node, _)| **node);
        for (at, (node, candidate)) in nodes.into_iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            let info = &candidate.info;
            write!(f, "{separator}({node}: {} commit {})", info.connstr, info.commit_lsn)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
