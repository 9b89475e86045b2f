//! Applies the messages of one leader to a timeline.
//!
//! It is fed through a bounded queue and answers through another. Appends that are at hand
//! together are synced together. A compute's connection, which drives it in its own task, and
//! our own recovery from a peer, which lets it run beside, use it alike.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Instrument;
use wal_quorum::messages::{
    AcceptorMessage, AppendRequest, AppendResponse, HotStandbyFeedback, ProposerMessage,
};

use super::receivers::WalReceiverGuard;
use super::{TimelineError, WalResidentTimeline};
use crate::blocking;

/// Messages read ahead of the disk.
const MESSAGE_QUEUE_SIZE: usize = 256;
/// Answers that a slow proposer has not taken yet.
const REPLY_QUEUE_SIZE: usize = 16;
/// A proposer waits no longer than this for an answer while it keeps on sending.
const REPLY_INTERVAL: Duration = Duration::from_secs(1);

/// An acceptor and its queues. It ends once `messages` is closed and empty, or nobody takes its
/// answers any more.
#[derive(Debug)]
pub struct WalAcceptor {
    /// What to apply, in order.
    pub messages: mpsc::Sender<ProposerMessage>,
    /// What it answers.
    pub replies: mpsc::Receiver<AcceptorMessage>,
    /// What does the work.
    pub half: AcceptorHalf,
}

impl WalAcceptor {
    /// Registers with the timeline; `conn_id` is `None` for our own recovery.
    pub fn new(timeline: WalResidentTimeline, conn_id: Option<u32>) -> Self {
        let (message_sender, messages) = mpsc::channel(MESSAGE_QUEUE_SIZE);
        let (reply_sender, replies) = mpsc::channel(REPLY_QUEUE_SIZE);
        let half = AcceptorHalf {
            slot: timeline.receivers().register(conn_id),
            timeline,
            messages,
            replies: reply_sender,
            last_reply: Instant::now(),
        };
        Self { messages: message_sender, replies, half }
    }
}

/// What applies messages. Whoever drives it must let it come to its end.
#[derive(Debug)]
pub struct AcceptorHalf {
    timeline: WalResidentTimeline,
    slot: WalReceiverGuard,
    messages: mpsc::Receiver<ProposerMessage>,
    replies: mpsc::Sender<AcceptorMessage>,
    last_reply: Instant,
}

impl AcceptorHalf {
    /// Runs it to its end. `first` is applied before anything that comes through the queue.
    pub async fn run(self, first: Option<ProposerMessage>) -> Result<(), TimelineError> {
        self.apply_all(first).instrument(tracing::info_span!("WAL acceptor")).await
    }

    async fn apply_all(mut self, first: Option<ProposerMessage>) -> Result<(), TimelineError> {
        let cancel = self.timeline.cancellation().clone();
        let mut next = first;
        loop {
            let message = match next.take() {
                Some(message) => message,
                // Receiving is cancel safe.
                None => tokio::select! {
                    () = cancel.cancelled() => {
                        return Err(TimelineError::Cancelled(self.timeline.ttid()));
                    }
                    message = self.messages.recv() => match message {
                        Some(message) => message,
                        None => return Ok(()),
                    },
                },
            };
            let reply = match message {
                ProposerMessage::AppendRequest(request) => {
                    let (response, unprocessed) = self.append_batch(request).await?;
                    next = unprocessed;
                    Some(AcceptorMessage::AppendResponse(self.complete(response)))
                }
                ProposerMessage::Elected(elected) => {
                    self.slot.set_streaming();
                    self.timeline.process(ProposerMessage::Elected(elected)).await?
                }
                ProposerMessage::Greeting(_) | ProposerMessage::VoteRequest(_) => {
                    self.timeline.process(message).await?
                }
            };
            if let Some(reply) = reply {
                self.last_reply = Instant::now();
                if self.replies.send(reply).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Writes every append at hand, then syncs once. Returns the message that ended the batch,
    /// if it was something else.
    async fn append_batch(
        &mut self,
        first: AppendRequest,
    ) -> Result<(AppendResponse, Option<ProposerMessage>), TimelineError> {
        let mut request = first;
        let mut unprocessed = None;
        loop {
            let written = {
                let mut state = self.timeline.write().await;
                self.timeline.check_usable()?;
                let acceptor = state.acceptor_mut()?;
                blocking::run(|| acceptor.append_without_flush(&request))?
            };
            if let Some(refusal) = written {
                return Ok((refusal, None));
            }
            if self.last_reply.elapsed() >= REPLY_INTERVAL {
                break;
            }
            match self.messages.try_recv() {
                Ok(ProposerMessage::AppendRequest(more)) => request = more,
                Ok(other) => {
                    unprocessed = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let mut state = self.timeline.write().await;
        self.timeline.check_usable()?;
        let acceptor = state.acceptor_mut()?;
        let response = blocking::run(|| acceptor.flush_and_respond())?;
        Ok((response, unprocessed))
    }

    fn complete(&self, response: AppendResponse) -> AppendResponse {
        let needed = self.timeline.senders().standby_aggregate().hot_standby;
        let hs_feedback = HotStandbyFeedback {
            ts: needed.timestamp.0,
            xmin: needed.xmin,
            catalog_xmin: needed.catalog_xmin,
        };
        AppendResponse { hs_feedback, ..response }
    }
}
