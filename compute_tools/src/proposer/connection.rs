//! One session with one safekeeper, as a task: it connects, enters the WAL push protocol, and
//! then moves payloads in both directions. What they mean is the state machine's business.

use bytes::{Bytes, BytesMut};
use postgres_client::{ConnectOptions, CopyReceiver, CopySender};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use wal_quorum::messages::AppendRequestHeader;
use wal_quorum::proposer::{ConnectionId, WalSource};

use crate::proposer::wal_reader::{WalPlaces, WalReadError, WalReader};

const COMMAND: &str = "START_WAL_PUSH";
/// Payloads on their way to the safekeeper. The state machine has at most one message with WAL
/// and a few small ones under way.
const QUEUE_LENGTH: usize = 64;

/// What is to be sent.
#[derive(Debug)]
pub enum Outgoing {
    /// A payload as it is.
    Payload(Bytes),
    /// A header, and the WAL it announces.
    Wal {
        /// The header.
        header: AppendRequestHeader,
        /// Where the WAL is.
        source: WalSource,
    },
}

/// What happened on a session.
#[derive(Debug)]
pub enum ConnectionEvent {
    /// The session is ready for payloads.
    Connected,
    /// A payload arrived.
    Received(Bytes),
    /// A message with WAL was handed to the transport.
    WalSent(AppendRequestHeader),
    /// The session is over.
    Closed(ConnectionError),
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The connection failed, or the safekeeper reported an error.
    #[error(transparent)]
    Session(#[from] postgres_client::Error),
    /// WAL for this safekeeper could not be had.
    #[error("{0}")]
    Wal(#[from] WalReadError),
    /// More messages than there can be.
    #[error("too many messages are waiting for the safekeeper")]
    QueueFull,
}

/// An event and which session it belongs to.
#[derive(Debug)]
pub struct PeerEvent {
    /// The session.
    pub connection: ConnectionId,
    /// What happened.
    pub event: ConnectionEvent,
}

/// A session. Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection {
    /// Which attempt this is.
    pub id: ConnectionId,
    outgoing: mpsc::Sender<Outgoing>,
    _task: AbortOnDropHandle<()>,
}

impl Connection {
    /// Starts to connect.
    pub fn open(
        options: ConnectOptions,
        id: ConnectionId,
        places: WalPlaces,
        events: mpsc::Sender<PeerEvent>,
    ) -> Self {
        let (outgoing, queue) = mpsc::channel(QUEUE_LENGTH);
        let events = EventSender { connection: id, events };
        let task = tokio::spawn(async move {
            if let Err(error) = run(options, queue, WalReader::new(places), &events).await {
                events.send(ConnectionEvent::Closed(error)).await;
            }
        });
        Self { id, outgoing, _task: AbortOnDropHandle::new(task) }
    }

    /// Queues something to send. The end of a session is reported by its task.
    pub fn queue(&self, outgoing: Outgoing) -> Result<(), ConnectionError> {
        match self.outgoing.try_send(outgoing) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ConnectionError::QueueFull),
        }
    }

    /// Sends what is queued and then ends the session; returns when the safekeeper has dealt
    /// with all of it.
    pub async fn finish(self) {
        let Self { outgoing, _task: task, .. } = self;
        drop(outgoing);
        // A task that was aborted or panicked has ended as well.
        let _ = task.await;
    }
}

struct EventSender {
    connection: ConnectionId,
    events: mpsc::Sender<PeerEvent>,
}

impl EventSender {
    async fn send(&self, event: ConnectionEvent) {
        // A driver that is gone needs no events.
        let _ = self.events.send(PeerEvent { connection: self.connection, event }).await;
    }
}

async fn run(
    options: ConnectOptions,
    queue: mpsc::Receiver<Outgoing>,
    reader: WalReader,
    events: &EventSender,
) -> Result<(), ConnectionError> {
    let client = options.connect().await?;
    let (receiver, sender) = client.copy_both(COMMAND).await?.split();
    events.send(ConnectionEvent::Connected).await;
    // Neither direction may starve the other; the first to end ends the session.
    tokio::select! {
        outcome = receive(receiver, events) => outcome,
        outcome = send(sender, queue, reader, events) => outcome,
    }
}

async fn receive(mut receiver: CopyReceiver, events: &EventSender) -> Result<(), ConnectionError> {
    while let Some(payload) = receiver.recv().await? {
        events.send(ConnectionEvent::Received(payload)).await;
    }
    Err(postgres_client::Error::Closed.into())
}

async fn send(
    mut sender: CopySender,
    mut queue: mpsc::Receiver<Outgoing>,
    mut reader: WalReader,
    events: &EventSender,
) -> Result<(), ConnectionError> {
    while let Some(outgoing) = queue.recv().await {
        match outgoing {
            Outgoing::Payload(payload) => sender.send(&payload).await?,
            Outgoing::Wal { header, source } => {
                let wal = reader.read(header.begin_lsn, header.end_lsn, source).await?;
                let mut head = BytesMut::new();
                header.encode(&mut head);
                sender.feed(&[&head, &wal])?;
                sender.flush().await?;
                events.send(ConnectionEvent::WalSent(header)).await;
            }
        }
    }
    // The owner has nothing more to say. The safekeeper answers after it has dealt with
    // everything before; closing the socket earlier could make it lose some of that.
    sender.finish().await?;
    std::future::pending().await
}
