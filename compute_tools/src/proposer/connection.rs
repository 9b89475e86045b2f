//! One session with one safekeeper, as a task: it connects, enters the WAL push protocol, and
//! then moves payloads in both directions. It does not look into them.

use bytes::Bytes;
use postgres_client::{ConnectOptions, CopyReceiver, CopySender, Error};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

const COMMAND: &str = "START_WAL_PUSH";
/// Payloads on their way to the safekeeper. The driver asks before it sends more.
const QUEUE_LENGTH: usize = 64;

/// What happened on a session.
#[derive(Debug)]
pub enum ConnectionEvent {
    /// The session is ready for payloads.
    Connected,
    /// A payload arrived.
    Received(Bytes),
    /// Everything queued so far went out.
    Flushed,
    /// The session is over.
    Closed(Error),
}

/// An event and which session it belongs to.
#[derive(Debug)]
pub struct PeerEvent {
    /// Index of the safekeeper.
    pub peer: usize,
    /// Number of the session: events of an earlier one come too late to matter.
    pub session: u64,
    /// What happened.
    pub event: ConnectionEvent,
}

/// A session. Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection {
    payloads: mpsc::Sender<Bytes>,
    _task: AbortOnDropHandle<()>,
}

/// The queue to a safekeeper is full or its session has ended.
#[derive(Debug)]
pub struct CannotQueue;

impl Connection {
    /// Starts to connect.
    pub fn open(
        options: ConnectOptions,
        peer: usize,
        session: u64,
        events: mpsc::Sender<PeerEvent>,
    ) -> Self {
        let (payloads, queue) = mpsc::channel(QUEUE_LENGTH);
        let events = EventSender { peer, session, events };
        let task = tokio::spawn(async move {
            if let Err(error) = run(options, queue, &events).await {
                events.send(ConnectionEvent::Closed(error)).await;
            }
        });
        Self { payloads, _task: AbortOnDropHandle::new(task) }
    }

    /// Queues a payload.
    pub fn queue(&self, payload: Bytes) -> Result<(), CannotQueue> {
        self.payloads.try_send(payload).map_err(|_| CannotQueue)
    }

    /// How many more payloads can be queued.
    pub fn room(&self) -> usize {
        self.payloads.capacity()
    }
}

struct EventSender {
    peer: usize,
    session: u64,
    events: mpsc::Sender<PeerEvent>,
}

impl EventSender {
    async fn send(&self, event: ConnectionEvent) {
        let Self { peer, session, .. } = *self;
        // A driver that is gone needs no events.
        let _ = self.events.send(PeerEvent { peer, session, event }).await;
    }
}

async fn run(
    options: ConnectOptions,
    queue: mpsc::Receiver<Bytes>,
    events: &EventSender,
) -> Result<(), Error> {
    let client = options.connect().await?;
    let (receiver, sender) = client.copy_both(COMMAND).await?.split();
    events.send(ConnectionEvent::Connected).await;
    // Neither direction may starve the other; the first to end ends the session.
    tokio::select! {
        outcome = receive(receiver, events) => outcome,
        outcome = send(sender, queue, events) => outcome,
    }
}

async fn receive(mut receiver: CopyReceiver, events: &EventSender) -> Result<(), Error> {
    while let Some(payload) = receiver.recv().await? {
        events.send(ConnectionEvent::Received(payload)).await;
    }
    Err(Error::Closed)
}

async fn send(
    mut sender: CopySender,
    mut queue: mpsc::Receiver<Bytes>,
    events: &EventSender,
) -> Result<(), Error> {
    while let Some(payload) = queue.recv().await {
        sender.send(&payload).await?;
        if queue.is_empty() {
            events.send(ConnectionEvent::Flushed).await;
        }
    }
    Ok(())
}
