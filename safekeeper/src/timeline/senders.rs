//! Who reads WAL from a timeline right now, and what the readers reported.
//!
//! Keeps one slot per connection, the aggregate of what hot standbys still need, and hands every
//! pageserver's progress to the connections that push WAL, which pass it on to the proposer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pq_proto::{HotStandbyFeedback, PageserverFeedback, StandbyReply};
use tokio::sync::broadcast;
use utils::Lsn;

/// Feedbacks a slow pushing connection may lag behind before it misses some.
const FEEDBACK_CHANNEL_CAPACITY: usize = 8;

/// What a reader reported last, by the kind of reader it proved to be.
#[derive(Clone, Copy, Debug)]
pub enum ReaderFeedback {
    /// A pageserver, or nothing was reported yet.
    Pageserver(PageserverFeedback),
    /// A standby or another stock client.
    Standby {
        /// Its positions.
        reply: StandbyReply,
        /// What its queries need.
        hot_standby: HotStandbyFeedback,
    },
}

/// One connection that reads WAL.
#[derive(Clone, Debug)]
pub struct WalSenderSlot {
    /// Where it comes from.
    pub addr: SocketAddr,
    /// Number of the connection within its listener.
    pub conn_id: u32,
    /// The `application_name` it gave.
    pub appname: Option<String>,
    /// Reads in the name of a term: another safekeeper or a proposer, never a standby.
    pub in_term: bool,
    /// What it reported last.
    pub feedback: ReaderFeedback,
}

/// What all standbys together need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandbyAggregate {
    /// Oldest transactions; zero when no standby reported any.
    pub hot_standby: HotStandbyFeedback,
    /// Lowest replayed position; 0/0 without standbys.
    pub apply_lsn: Lsn,
}

/// The last word of a pageserver and how many there were.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageserverProgress {
    /// The last feedback.
    pub last: PageserverFeedback,
    /// Feedbacks received so far.
    pub count: u64,
}

#[derive(Debug, Default)]
struct Shared {
    slots: Vec<Option<WalSenderSlot>>,
    aggregate: StandbyAggregate,
    pageserver: PageserverProgress,
}

/// The readers of one timeline.
#[derive(Debug)]
pub struct WalSenders {
    shared: Mutex<Shared>,
    pageserver_feedback: broadcast::Sender<PageserverFeedback>,
}

/// A connection's slot; dropping it gives the slot up.
#[derive(Debug)]
pub struct WalSenderGuard {
    registry: Arc<WalSenders>,
    index: usize,
}

impl WalSenders {
    /// Nobody yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            shared: Mutex::default(),
            pageserver_feedback: broadcast::Sender::new(FEEDBACK_CHANNEL_CAPACITY),
        })
    }

    /// Registers a connection, as a pageserver until it shows to be something else.
    pub fn register(
        self: &Arc<Self>,
        addr: SocketAddr,
        conn_id: u32,
        appname: Option<String>,
        in_term: bool,
    ) -> WalSenderGuard {
        let feedback = ReaderFeedback::Pageserver(PageserverFeedback::default());
        let slot = WalSenderSlot { addr, conn_id, appname, in_term, feedback };
        let mut shared = self.lock();
        let free = shared.slots.iter().position(Option::is_none);
        let index = free.unwrap_or(shared.slots.len());
        match shared.slots.get_mut(index) {
            Some(place) => *place = Some(slot),
            None => shared.slots.push(Some(slot)),
        }
        WalSenderGuard { registry: self.clone(), index }
    }

    /// Every reader.
    pub fn all(&self) -> Vec<WalSenderSlot> {
        self.lock().slots.iter().flatten().cloned().collect()
    }

    /// What all standbys together need.
    pub fn standby_aggregate(&self) -> StandbyAggregate {
        self.lock().aggregate
    }

    /// The last word of a pageserver.
    pub fn pageserver_progress(&self) -> PageserverProgress {
        self.lock().pageserver
    }

    /// The lowest position received by the connected pageservers; `None` without any.
    pub fn laggard_lsn(&self) -> Option<Lsn> {
        let received = |slot: &WalSenderSlot| match slot.feedback {
            ReaderFeedback::Pageserver(feedback) => Some(feedback.last_received_lsn),
            ReaderFeedback::Standby { .. } => None,
        };
        self.lock().slots.iter().flatten().filter_map(received).min()
    }

    /// Follows the feedback of pageservers.
    pub fn subscribe_pageserver_feedback(&self) -> broadcast::Receiver<PageserverFeedback> {
        self.pageserver_feedback.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn recompute_aggregate(&mut self) {
        let mut aggregate = StandbyAggregate::default();
        for slot in self.slots.iter().flatten().filter(|slot| !slot.in_term) {
            let ReaderFeedback::Standby { reply, hot_standby } = slot.feedback else { continue };
            let total = &mut aggregate.hot_standby;
            if hot_standby.xmin != 0 || hot_standby.catalog_xmin != 0 {
                total.timestamp = total.timestamp.max(hot_standby.timestamp);
            }
            total.xmin = min_set(total.xmin, hot_standby.xmin);
            total.catalog_xmin = min_set(total.catalog_xmin, hot_standby.catalog_xmin);
            aggregate.apply_lsn = Lsn(min_set(aggregate.apply_lsn.0, reply.apply_lsn.0));
        }
        self.aggregate = aggregate;
    }
}

/// The smaller of two values of which 0 means "none".
fn min_set(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

impl WalSenderGuard {
    /// A standby reported its positions.
    pub fn record_standby_reply(&self, reply: StandbyReply) {
        self.update_standby(|known, _| *known = reply);
    }

    /// A standby reported what its queries need.
    pub fn record_hot_standby_feedback(&self, feedback: HotStandbyFeedback) {
        self.update_standby(|_, known| *known = feedback);
    }

    fn update_standby(&self, change: impl FnOnce(&mut StandbyReply, &mut HotStandbyFeedback)) {
        let mut shared = self.registry.lock();
        if let Some(Some(slot)) = shared.slots.get_mut(self.index) {
            let (mut reply, mut hot_standby) = match slot.feedback {
                ReaderFeedback::Standby { reply, hot_standby } => (reply, hot_standby),
                ReaderFeedback::Pageserver(_) => Default::default(),
            };
            change(&mut reply, &mut hot_standby);
            slot.feedback = ReaderFeedback::Standby { reply, hot_standby };
        }
        shared.recompute_aggregate();
    }

    /// A pageserver reported its progress; the pushing connections hear of it.
    pub fn record_pageserver_feedback(&self, feedback: PageserverFeedback) {
        let mut shared = self.registry.lock();
        if let Some(Some(slot)) = shared.slots.get_mut(self.index) {
            slot.feedback = ReaderFeedback::Pageserver(feedback);
        }
        shared.pageserver.last = feedback;
        shared.pageserver.count += 1;
        drop(shared);
        // Without a pushing connection there is nobody to tell.
        let _ = self.registry.pageserver_feedback.send(feedback);
    }

    /// The remote_consistent_lsn this reader reported, if it is a pageserver.
    pub fn pageserver_remote_consistent_lsn(&self) -> Option<Lsn> {
        match self.registry.lock().slots.get(self.index)?.as_ref()?.feedback {
            ReaderFeedback::Pageserver(feedback) => Some(feedback.remote_consistent_lsn),
            ReaderFeedback::Standby { .. } => None,
        }
    }
}

impl Drop for WalSenderGuard {
    fn drop(&mut self) {
        let mut shared = self.registry.lock();
        if let Some(slot) = shared.slots.get_mut(self.index) {
            *slot = None;
        }
        shared.recompute_aggregate();
    }
}

#[cfg(test)]
mod tests;
