//! The proposer's replication session with PostgreSQL: WAL in, acknowledgements out.
//!
//! To PostgreSQL this is its one synchronous standby. It reports only what a quorum of
//! safekeepers has, so a commit returns exactly when it is durable.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use postgres_client::{Client, ConnectOptions, CopyReceiver, CopySender};
use pq_proto::{HotStandbyFeedback, PgTimestamp, StandbyReply, WalSenderMessage};
use tokio::sync::watch;
use tokio::time::Instant;
use utils::Lsn;

use crate::proposer::window::{WalGap, WalWindow};

/// Name of the session; the one in `synchronous_standby_names`.
pub const APPLICATION_NAME: &str = "walproposer";
/// Slot that keeps WAL from being recycled before it is committed.
const SLOT_NAME: &str = "walproposer";
/// A status goes out at least this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// SQLSTATE of a slot that exists already.
const DUPLICATE_OBJECT: &str = "42710";

/// The session could not be opened, or broke.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A command or the stream failed.
    #[error("replication session with PostgreSQL: {action} failed: {source}")]
    Session {
        /// What was attempted.
        action: &'static str,
        /// What went wrong.
        source: postgres_client::Error,
    },
    /// The server is not the one whose data directory was built.
    #[error(
        "PostgreSQL has system identifier {actual} on timeline {timeline}, expected {expected} on \
         timeline 1: the data directory does not belong to this endpoint"
    )]
    Identity {
        /// From pg_control.
        expected: u64,
        /// From the server.
        actual: String,
        /// From the server.
        timeline: String,
    },
    /// The server refuses the session.
    #[error("replication session with PostgreSQL: {0}")]
    Refused(#[from] crate::postgres::PostgresError),
    /// WAL out of order.
    #[error("replication session with PostgreSQL: {0}")]
    Gap(#[from] WalGap),
}

fn failed(action: &'static str) -> impl FnOnce(postgres_client::Error) -> SourceError {
    move |source| SourceError::Session { action, source }
}

/// What the driver tells the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckState {
    /// What a quorum has.
    pub commit_lsn: Lsn,
    /// How long an acknowledgement should be held back.
    pub delay: Duration,
    /// Oldest transactions that replicas need.
    pub hot_standby: Option<HotStandbyFeedback>,
}

/// The window, shared with the driver. Locked for single operations only.
pub type SharedWindow = Arc<Mutex<WalWindow>>;

/// Runs `action` on the window.
pub fn with_window<R>(window: &SharedWindow, action: impl FnOnce(&mut WalWindow) -> R) -> R {
    // The window checks its own invariants before it changes anything.
    action(&mut window.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A replication session that has not begun to stream.
#[derive(Debug)]
pub struct WalSource {
    client: Client,
}

impl WalSource {
    /// Prepares the session: checks whose server it is and reserves WAL.
    pub async fn prepare(mut client: Client, system_id: u64) -> Result<Self, SourceError> {
        let rows = client.simple_query("IDENTIFY_SYSTEM").await.map_err(failed("identifying"))?;
        let value = |name| rows.first().and_then(|row| row.by_name(name)).unwrap_or("nothing");
        let (actual, timeline) = (value("systemid"), value("timeline"));
        if actual != system_id.to_string() || timeline != "1" {
            let (actual, timeline) = (actual.to_owned(), timeline.to_owned());
            return Err(SourceError::Identity { expected: system_id, actual, timeline });
        }
        let command = format!("CREATE_REPLICATION_SLOT {SLOT_NAME} PHYSICAL RESERVE_WAL");
        match client.simple_query(&command).await {
            Ok(_) => {}
            // A data directory from a backup may bring slots of its time along.
            Err(error) if error.sqlstate() == Some(DUPLICATE_OBJECT) => {}
            Err(error) => return Err(failed("creating the slot")(error)),
        }
        Ok(Self { client })
    }

    /// How to open the session.
    pub fn connect_options(admin: &ConnectOptions) -> ConnectOptions {
        ConnectOptions {
            replication: true,
            application_name: Some(APPLICATION_NAME.to_owned()),
            ..admin.clone()
        }
    }

    /// Streams from the window's end on, until the server ends the stream.
    pub async fn stream(
        self,
        window: SharedWindow,
        acks: watch::Receiver<AckState>,
        wal_end: watch::Sender<Lsn>,
    ) -> Result<(), SourceError> {
        let start = with_window(&window, |window| window.end());
        let command = format!("START_REPLICATION SLOT {SLOT_NAME} PHYSICAL {start} TIMELINE 1");
        let stream = self.client.copy_both(&command).await.map_err(failed("starting to stream"))?;
        let (receiver, sender) = stream.split();
        let reports = Reports {
            sender,
            acknowledged: Lsn::INVALID,
            hot_standby: None,
            due: None,
            last_status: Instant::now(),
        };
        Session { receiver, reports, window, acks, wal_end }.run().await
    }
}

struct Session {
    receiver: CopyReceiver,
    reports: Reports,
    window: SharedWindow,
    acks: watch::Receiver<AckState>,
    wal_end: watch::Sender<Lsn>,
}

impl Session {
    async fn run(mut self) -> Result<(), SourceError> {
        loop {
            // Without room PostgreSQL is not read, so its walsender waits and keeps the WAL.
            let has_room = with_window(&self.window, |window| window.has_room());
            let wake = self.reports.next_wake();
            // Every branch is cancel safe: receiving keeps partial messages, the rest is state.
            tokio::select! {
                payload = self.receiver.recv(), if has_room => {
                    let Some(payload) = payload.map_err(failed("receiving WAL"))? else {
                        return Ok(());
                    };
                    self.receive(payload).await?;
                }
                changed = self.acks.changed() => {
                    if changed.is_err() {
                        // The driver is gone; whoever awaits both knows why.
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            let mut state = *self.acks.borrow_and_update();
            // After a log switch safekeepers are at the next segment before the zeroes that fill
            // the old one have come by. Acknowledged, PostgreSQL would remove the segment that
            // it is still sending.
            let received_lsn = with_window(&self.window, |window| window.end());
            state.commit_lsn = state.commit_lsn.min(received_lsn);
            self.reports.send_due(&state).await?;
        }
    }

    async fn receive(&mut self, payload: bytes::Bytes) -> Result<(), SourceError> {
        let message = WalSenderMessage::parse(payload);
        let message = message.map_err(|error| failed("receiving WAL")(error.into()))?;
        match message {
            WalSenderMessage::XLogData(wal) => {
                let end = with_window(&self.window, |window| {
                    window.push(wal.start_lsn, wal.data).map(|()| window.end())
                })?;
                self.wal_end.send_replace(end);
                Ok(())
            }
            WalSenderMessage::Keepalive(keepalive) if keepalive.reply_requested => {
                self.reports.send_status().await
            }
            WalSenderMessage::Keepalive(_) => Ok(()),
        }
    }
}

/// What is reported to PostgreSQL, and when.
struct Reports {
    sender: CopySender,
    acknowledged: Lsn,
    hot_standby: Option<HotStandbyFeedback>,
    /// When an acknowledgement that is being held back may go out.
    due: Option<Instant>,
    last_status: Instant,
}

impl Reports {
    fn next_wake(&self) -> Instant {
        let status = self.last_status + STATUS_INTERVAL;
        self.due.map_or(status, |due| due.min(status))
    }

    async fn send_due(&mut self, state: &AckState) -> Result<(), SourceError> {
        let now = Instant::now();
        if state.commit_lsn > self.acknowledged {
            let due = *self.due.get_or_insert(now + state.delay);
            // A delay that has shrunk since counts at once.
            if due.min(now + state.delay) <= now {
                self.acknowledged = state.commit_lsn;
                self.due = None;
                self.send_status().await?;
            }
        }
        if now >= self.last_status + STATUS_INTERVAL {
            self.send_status().await?;
        }
        if state.hot_standby != self.hot_standby {
            self.hot_standby = state.hot_standby;
            self.send_hot_standby_feedback().await?;
        }
        Ok(())
    }

    /// Write, flush and apply are all the commit position, so that every level of
    /// `synchronous_commit` above `local` means the same: a quorum has it.
    async fn send_status(&mut self) -> Result<(), SourceError> {
        self.last_status = Instant::now();
        let mut payload = BytesMut::new();
        StandbyReply {
            write_lsn: self.acknowledged,
            flush_lsn: self.acknowledged,
            apply_lsn: self.acknowledged,
            timestamp: PgTimestamp::from_system_time(SystemTime::now()),
            reply_requested: false,
        }
        .write(&mut payload);
        self.sender.send(&payload).await.map_err(failed("acknowledging WAL"))
    }

    async fn send_hot_standby_feedback(&mut self) -> Result<(), SourceError> {
        let mut payload = BytesMut::new();
        self.hot_standby.unwrap_or_default().write(&mut payload);
        self.sender.send(&payload).await.map_err(failed("forwarding hot standby feedback"))
    }
}
