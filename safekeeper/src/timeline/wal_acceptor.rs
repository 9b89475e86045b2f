//! Applies the messages of one leader to a timeline.
//!
//! Appends that are at hand together are synced together. A compute's connection hands its
//! messages over one by one as it reads them; our own recovery from a peer, which lets the disk
//! work beside the network, feeds them through a bounded queue and takes answers from another.

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
/// So much WAL is synced at once, even if more is at hand: commits in it wait for the answer.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// Applies messages one after the other.
#[derive(Debug)]
pub struct Applier {
    timeline: WalResidentTimeline,
    slot: WalReceiverGuard,
    last_reply: Instant,
}

/// What came of a message.
#[derive(Debug)]
pub struct Applied {
    /// The answer, if there is one.
    pub reply: Option<AcceptorMessage>,
    /// A message that was taken and is to be applied next.
    pub unprocessed: Option<ProposerMessage>,
}

impl Applier {
    /// Registers with the timeline; `conn_id` is `None` for our own recovery.
    pub fn new(timeline: WalResidentTimeline, conn_id: Option<u32>) -> Self {
        let slot = timeline.receivers().register(conn_id);
        Self { timeline, slot, last_reply: Instant::now() }
    }

    /// What it applies messages to.
    pub fn timeline(&self) -> &WalResidentTimeline {
        &self.timeline
    }

    /// Applies a message, durably. `at_hand` gives messages that have arrived already.
    pub async fn apply(
        &mut self,
        message: ProposerMessage,
        at_hand: impl FnMut() -> Option<ProposerMessage>,
    ) -> Result<Applied, TimelineError> {
        let applied = match message {
            ProposerMessage::AppendRequest(request) => {
                let (response, unprocessed) = self.append_batch(request, at_hand).await?;
                let response = AcceptorMessage::AppendResponse(self.complete(response));
                Applied { reply: Some(response), unprocessed }
            }
            ProposerMessage::Elected(_) => {
                self.slot.set_streaming();
                Applied { reply: self.timeline.process(message).await?, unprocessed: None }
            }
            ProposerMessage::Greeting(_) | ProposerMessage::VoteRequest(_) => {
                Applied { reply: self.timeline.process(message).await?, unprocessed: None }
            }
        };
        if applied.reply.is_some() {
            self.last_reply = Instant::now();
        }
        Ok(applied)
    }

    /// Writes every append at hand, then syncs once. Returns the message that ended the batch,
    /// if it was something else.
    async fn append_batch(
        &mut self,
        first: AppendRequest,
        mut at_hand: impl FnMut() -> Option<ProposerMessage>,
    ) -> Result<(AppendResponse, Option<ProposerMessage>), TimelineError> {
        let mut request = first;
        let mut unprocessed = None;
        let mut batch_bytes = 0;
        loop {
            batch_bytes += request.wal.len();
            let written = {
                let mut state = self.timeline.write().await;
                self.timeline.check_usable()?;
                let acceptor = state.acceptor_mut()?;
                blocking::run(|| acceptor.append_without_flush(&request))?
            };
            if let Some(refusal) = written {
                return Ok((refusal, None));
            }
            if self.last_reply.elapsed() >= REPLY_INTERVAL || batch_bytes >= MAX_BATCH_BYTES {
                break;
            }
            match at_hand() {
                Some(ProposerMessage::AppendRequest(more)) => request = more,
                other => {
                    unprocessed = other;
                    break;
                }
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

/// An applier and its queues. It ends once `messages` is closed and empty, or nobody takes its
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
    /// Queues for this applier.
    pub fn new(applier: Applier) -> Self {
        let (message_sender, messages) = mpsc::channel(MESSAGE_QUEUE_SIZE);
        let (reply_sender, replies) = mpsc::channel(REPLY_QUEUE_SIZE);
        let half = AcceptorHalf { applier, messages, replies: reply_sender };
        Self { messages: message_sender, replies, half }
    }
}

/// What applies queued messages. Whoever drives it must let it come to its end.
#[derive(Debug)]
pub struct AcceptorHalf {
    applier: Applier,
    messages: mpsc::Receiver<ProposerMessage>,
    replies: mpsc::Sender<AcceptorMessage>,
}

impl AcceptorHalf {
    /// Runs it to its end. `first` is applied before anything that comes through the queue.
    pub async fn run(self, first: ProposerMessage) -> Result<(), TimelineError> {
        self.apply_all(first).instrument(tracing::info_span!("WAL acceptor")).await
    }

    async fn apply_all(self, first: ProposerMessage) -> Result<(), TimelineError> {
        let Self { mut applier, mut messages, replies } = self;
        let cancel = applier.timeline().cancellation().clone();
        let mut next = Some(first);
        loop {
            let message = match next.take() {
                Some(message) => message,
                // Receiving is cancel safe.
                None => tokio::select! {
                    () = cancel.cancelled() => {
                        return Err(TimelineError::Cancelled(applier.timeline().ttid()));
                    }
                    message = messages.recv() => match message {
                        Some(message) => message,
                        None => return Ok(()),
                    },
                },
            };
            let applied = applier.apply(message, || messages.try_recv().ok()).await?;
            next = applied.unprocessed;
            if let Some(reply) = applied.reply
                && replies.send(reply).await.is_err()
            {
                return Ok(());
            }
        }
    }
}
