//! `START_WAL_PUSH`: a proposer pushes WAL.
//!
//! Two halves per connection. The network half reads messages into a bounded queue and writes
//! answers from another; the other, a [`WalAcceptor`], applies the messages to the timeline.
//! Both run in one task: on the way of a commit, waking another thread would take longer than
//! the work, and the socket's buffer overlaps network and disk well enough.

use std::sync::Arc;

use postgres_backend::{BackendReader, BackendWriter, CopyStreamEnd, PostgresBackend, QueryError};
use pq_proto::{BeMessage, PageserverFeedback};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tracing::Instrument;
use utils::TenantTimelineId;
use wal_quorum::control_file::ServerInfo;
use wal_quorum::messages::{AcceptorMessage, AppendResponse, ProposerGreeting, ProposerMessage};

use super::handler::SafekeeperHandler;
use super::refusal::stream_error;
use super::traffic::Traffic;
use crate::timeline::Timeline;
use crate::timeline::wal_acceptor::WalAcceptor;
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
        let WalAcceptor { messages, mut replies, half } =
            WalAcceptor::new(timeline, Some(self.conn_id));
        let traffic = &self.traffic;
        let network = async move {
            // Whichever ends first ends the session; what the other has under way is of no use
            // then. With `replies` gone the acceptor does not wait for room in it.
            tokio::select! {
                end = read_messages(reader, messages, traffic) => end,
                end = write_replies(writer, &mut replies, feedback, traffic) => end,
            }
        };
        match tokio::join!(network, half.run(Some(greeting))) {
            (Err(end), _) => end,
            (Ok(()), Err(error)) => stream_error(error),
            (Ok(()), Ok(())) => CopyStreamEnd::ServerInitiated("session ended".to_owned()),
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
