//! `START_WAL_PUSH`: a proposer pushes WAL.
//!
//! Two tasks per connection, so that network and disk work overlap. The network half reads
//! messages into a bounded queue and writes answers from another; the acceptor half applies the
//! messages to the timeline. Appends that are at hand together are synced together.

use std::sync::Arc;
use std::time::Duration;

use postgres_backend::{BackendReader, BackendWriter, CopyStreamEnd, PostgresBackend, QueryError};
use pq_proto::{BeMessage, PageserverFeedback};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tracing::Instrument;
use utils::TenantTimelineId;
use wal_quorum::control_file::ServerInfo;
use wal_quorum::messages::{
    AcceptorMessage, AppendRequest, AppendResponse, HotStandbyFeedback, ProposerGreeting,
    ProposerMessage,
};

use super::handler::SafekeeperHandler;
use super::refusal::stream_error;
use super::traffic::Traffic;
use crate::blocking;
use crate::timeline::receivers::WalReceiverGuard;
use crate::timeline::{Timeline, TimelineError, WalResidentTimeline};
use crate::timelines::{NewTimeline, Timelines};

/// Messages read ahead of the disk.
const MESSAGE_QUEUE_SIZE: usize = 256;
/// Answers that a slow proposer has not taken yet.
const REPLY_QUEUE_SIZE: usize = 16;
/// A proposer waits no longer than this for an answer while it keeps on sending.
const REPLY_INTERVAL: Duration = Duration::from_secs(1);

impl SafekeeperHandler {
    /// Runs the session to its end and tells the client why it ended.
    pub(super) async fn receive_wal(
        &mut self,
        pgb: &mut PostgresBackend,
        ttid: TenantTimelineId,
    ) -> Result<(), QueryError> {
        pgb.write_message(&BeMessage::CopyBothResponse)?.flush().await?;
        let (mut reader, mut writer) = pgb.split()?;
        let session = self
            .push_session(&mut reader, &mut writer, ttid)
            .instrument(tracing::info_span!("WAL receiver"));
        let end = session.await;
        pgb.unsplit(reader, writer);
        pgb.handle_copy_stream_end(end).await;
        Ok(())
    }

    async fn push_session(
        &self,
        reader: &mut BackendReader,
        writer: &mut BackendWriter,
        ttid: TenantTimelineId,
    ) -> CopyStreamEnd {
        let begun = async {
            let payload = reader.read_copy_message().await?;
            self.traffic.count_read(payload.len());
            let greeting = decode(payload)?;
            let timeline = open_timeline(&self.timelines, ttid, &greeting).await?;
            Ok::<_, CopyStreamEnd>((greeting, timeline.resident().map_err(stream_error)?))
        };
        let (greeting, timeline) = match begun.await {
            Ok(begun) => begun,
            Err(end) => return end,
        };
        let feedback = timeline.senders().subscribe_pageserver_feedback();
        let (message_sender, messages) = mpsc::channel(MESSAGE_QUEUE_SIZE);
        let (reply_sender, mut replies) = mpsc::channel(REPLY_QUEUE_SIZE);
        let acceptor = AcceptorHalf {
            slot: timeline.receivers().register(Some(self.conn_id)),
            timeline,
            messages,
            replies: reply_sender,
            last_reply: Instant::now(),
        };
        let span = tracing::info_span!("WAL acceptor");
        let acceptor = tokio::spawn(acceptor.run(greeting).instrument(span));
        // Whichever ends first ends the session; what the other has under way is of no use then.
        let network = tokio::select! {
            end = read_messages(reader, message_sender, &self.traffic) => end,
            end = write_replies(writer, &mut replies, feedback, &self.traffic) => end,
        };
        // Nobody takes answers any more; the acceptor must not wait for that.
        drop(replies);
        let accepted = acceptor.await;
        match (network, accepted) {
            (Err(end), _) => end,
            (Ok(()), Ok(Err(error))) => stream_error(error),
            (Ok(()), Ok(Ok(()))) => CopyStreamEnd::ServerInitiated("session ended".to_owned()),
            (Ok(()), Err(panic)) => stream_error(panic),
        }
    }
}

fn decode(payload: bytes::Bytes) -> Result<ProposerMessage, CopyStreamEnd> {
    ProposerMessage::decode(payload).map_err(stream_error)
}

/// The timeline of the session, which the first greeting creates.
async fn open_timeline(
    timelines: &Timelines,
    ttid: TenantTimelineId,
    first: &ProposerMessage,
) -> Result<Arc<Timeline>, CopyStreamEnd> {
    let ProposerMessage::Greeting(greeting) = first else {
        return Err(stream_error("the first message must be a ProposerGreeting"));
    };
    let ProposerGreeting { pg_version, system_id, wal_seg_size, .. } = *greeting;
    let new = NewTimeline {
        ttid,
        server: ServerInfo { pg_version, system_id, wal_seg_size },
        commit_lsn: utils::Lsn::INVALID,
        local_start_lsn: utils::Lsn::INVALID,
    };
    timelines.get_or_create(new).await.map_err(stream_error)
}

/// Ends well only when the acceptor takes no more messages.
async fn read_messages(
    reader: &mut BackendReader,
    messages: mpsc::Sender<ProposerMessage>,
    traffic: &Traffic,
) -> Result<(), CopyStreamEnd> {
    loop {
        let payload = reader.read_copy_message().await?;
        traffic.count_read(payload.len());
        if messages.send(decode(payload)?).await.is_err() {
            // The acceptor is gone and knows why; its answers so far are still being written.
            return std::future::pending().await;
        }
    }
}

/// Ends well only when the acceptor is gone.
async fn write_replies(
    writer: &mut BackendWriter,
    replies: &mut mpsc::Receiver<AcceptorMessage>,
    mut feedback: broadcast::Receiver<PageserverFeedback>,
    traffic: &Traffic,
) -> Result<(), CopyStreamEnd> {
    let mut last_append: Option<AppendResponse> = None;
    loop {
        // Receiving from either channel is cancel safe.
        let message = tokio::select! {
            reply = replies.recv() => match reply {
                Some(reply) => reply,
                None => return Ok(()),
            },
            received = feedback.recv() => match (received, &last_append) {
                (Ok(feedback), Some(response)) => with_feedback(response, &feedback),
                // Before the first answer there is nothing to attach it to; a missed one is
                // superseded by the next.
                (Ok(_), None) | (Err(RecvError::Lagged(_)), _) => continue,
                (Err(RecvError::Closed), _) => return Ok(()),
            },
        };
        if let AcceptorMessage::AppendResponse(response) = &message {
            last_append = Some(AppendResponse { pageserver_feedback: None, ..response.clone() });
        }
        let payload = message.encode();
        writer.write_message(&BeMessage::CopyData(&payload))?;
        writer.flush().await?;
        traffic.count_written(payload.len());
    }
}

fn with_feedback(response: &AppendResponse, feedback: &PageserverFeedback) -> AcceptorMessage {
    AcceptorMessage::AppendResponse(AppendResponse {
        pageserver_feedback: Some(*feedback),
        ..response.clone()
    })
}

/// Applies messages to the timeline. Never dropped half-way: it ends by itself.
struct AcceptorHalf {
    timeline: WalResidentTimeline,
    slot: WalReceiverGuard,
    messages: mpsc::Receiver<ProposerMessage>,
    replies: mpsc::Sender<AcceptorMessage>,
    last_reply: Instant,
}

impl AcceptorHalf {
    async fn run(mut self, greeting: ProposerMessage) -> Result<(), TimelineError> {
        let cancel = self.timeline.cancellation().clone();
        let mut next = Some(greeting);
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
                blocking::run(|| state.acceptor.append_without_flush(&request))?
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
        let response = blocking::run(|| state.acceptor.flush_and_respond())?;
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
