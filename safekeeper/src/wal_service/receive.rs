//! `START_WAL_PUSH`: a proposer pushes WAL.
//!
//! One task per connection reads messages, applies them to the timeline and writes answers, one
//! after the other. On the way of a commit handing a message to another task, or to another part
//! of this one, would take longer than the work, and the socket's buffer overlaps network and
//! disk well enough.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use postgres_backend::{BackendReader, BackendWriter, CopyStreamEnd, PostgresBackend, QueryError};
use pq_proto::{BeMessage, PageserverFeedback};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::Instrument;
use utils::TenantTimelineId;
use wal_quorum::control_file::ServerInfo;
use wal_quorum::messages::{AcceptorMessage, AppendResponse, ProposerGreeting, ProposerMessage};

use super::handler::SafekeeperHandler;
use super::refusal::stream_error;
use super::traffic::Traffic;
use crate::timeline::wal_acceptor::Applier;
use crate::timeline::{Timeline, TimelineError};
use crate::timelines::{NewTimeline, Timelines};

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
            let timeline = timeline.resident().await.map_err(stream_error)?;
            Ok::<_, CopyStreamEnd>((greeting, timeline))
        };
        let (greeting, timeline) = match begun.await {
            Ok(begun) => begun,
            Err(end) => return end,
        };
        let feedback = timeline.senders().subscribe_pageserver_feedback();
        let session = PushSession {
            timeline: Arc::clone(&timeline),
            reader,
            writer,
            traffic: &self.traffic,
            feedback,
            last_append: None,
            read_end: None,
        };
        session.run(Applier::new(timeline, Some(self.conn_id)), greeting).await
    }
}

/// What a session needs beside the applier of its messages.
struct PushSession<'a> {
    timeline: Arc<Timeline>,
    reader: &'a mut BackendReader,
    writer: &'a mut BackendWriter,
    traffic: &'a Traffic,
    feedback: broadcast::Receiver<PageserverFeedback>,
    /// What pageservers' reports are attached to.
    last_append: Option<AppendResponse>,
    /// Why nothing more can be read. What was read before is applied and answered first.
    read_end: Option<CopyStreamEnd>,
}

impl PushSession<'_> {
    async fn run(mut self, mut applier: Applier, first: ProposerMessage) -> CopyStreamEnd {
        let mut next = Some(first);
        loop {
            let message = match next.take() {
                Some(message) => message,
                None => match self.next_message().await {
                    Ok(message) => message,
                    Err(end) => return end,
                },
            };
            let applied = match applier.apply(message, || self.message_at_hand()).await {
                Ok(applied) => applied,
                Err(error) => return stream_error(error),
            };
            next = applied.unprocessed;
            if let Some(reply) = applied.reply
                && let Err(end) = self.reply(reply).await
            {
                return end;
            }
        }
    }

    /// The next message; meanwhile pageservers' reports are passed on.
    async fn next_message(&mut self) -> Result<ProposerMessage, CopyStreamEnd> {
        loop {
            if let Some(end) = self.read_end.take() {
                return Err(end);
            }
            // Reading, receiving and a token are cancel safe.
            let feedback = tokio::select! {
                payload = self.reader.read_copy_message() => return self.take(payload?),
                received = self.feedback.recv() => received,
                () = self.timeline.cancellation().cancelled() => return Err(self.cancelled()),
            };
            match (feedback, &self.last_append) {
                (Ok(feedback), Some(response)) => {
                    let reply = with_feedback(response, &feedback);
                    self.reply(reply).await?;
                }
                // Before the first answer there is nothing to attach it to; a missed one is
                // superseded by the next.
                (Ok(_), None) | (Err(RecvError::Lagged(_)), _) => {}
                (Err(closed @ RecvError::Closed), _) => return Err(stream_error(closed)),
            }
        }
    }

    /// A message that has arrived already.
    fn message_at_hand(&mut self) -> Option<ProposerMessage> {
        let read = self.reader.read_copy_message().now_or_never()?;
        match read.and_then(|payload| self.take(payload)) {
            Ok(message) => Some(message),
            Err(end) => {
                self.read_end = Some(end);
                None
            }
        }
    }

    fn take(&self, payload: Bytes) -> Result<ProposerMessage, CopyStreamEnd> {
        self.traffic.count_read(payload.len());
        decode(payload)
    }

    async fn reply(&mut self, message: AcceptorMessage) -> Result<(), CopyStreamEnd> {
        if let AcceptorMessage::AppendResponse(response) = &message {
            self.last_append =
                Some(AppendResponse { pageserver_feedback: None, ..response.clone() });
        }
        let payload = message.encode();
        self.writer.write_message(&BeMessage::CopyData(&payload))?;
        // A client that takes nothing must not hold up the timeline's deletion; the session is over
        // when a write is given up.
        tokio::select! {
            biased;
            flushed = self.writer.flush() => flushed?,
            () = self.timeline.cancellation().cancelled() => return Err(self.cancelled()),
        }
        self.traffic.count_written(payload.len());
        Ok(())
    }

    fn cancelled(&self) -> CopyStreamEnd {
        stream_error(TimelineError::Cancelled(self.timeline.ttid()))
    }
}

fn decode(payload: Bytes) -> Result<ProposerMessage, CopyStreamEnd> {
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

fn with_feedback(response: &AppendResponse, feedback: &PageserverFeedback) -> AcceptorMessage {
    AcceptorMessage::AppendResponse(AppendResponse {
        pageserver_feedback: Some(*feedback),
        ..response.clone()
    })
}
