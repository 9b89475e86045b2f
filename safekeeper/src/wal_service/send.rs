//! `START_REPLICATION`: somebody reads WAL.
//!
//! Pageservers and standbys get what is committed. Whoever names a term (another safekeeper, or
//! a proposer that refills one) gets everything durable, but only while that term lasts: then
//! the bytes surely belong to its history. Sending and listening run concurrently; whichever
//! ends first ends the session.

mod feedback;

use std::time::{Duration, SystemTime};

use bytes::{BufMut, BytesMut};
use postgres_backend::{BackendReader, BackendWriter, CopyStreamEnd, PostgresBackend, QueryError};
use pq_proto::{BeMessage, PgTimestamp, PrimaryKeepalive, XLogData};
use tokio::sync::watch;
use tracing::Instrument;
use utils::lsn::XLOG_BLCKSZ;
use utils::{Lsn, TenantTimelineId};
use wal_quorum::Term;

use super::handler::SafekeeperHandler;
use super::refusal::{query_error, stream_error};
use super::traffic::Traffic;
use crate::timeline::senders::WalSenderGuard;
use crate::timeline::wal_stream::WalStream;
use crate::timeline::{FlushPosition, Timeline, TimelineError, WalResidentTimeline};
use crate::wal_storage::{segment_start, segno};

/// Most WAL bytes in one message.
const MAX_CHUNK_BYTES: u64 = 16 * XLOG_BLCKSZ;
/// After a message to a pageserver that left less than [`GATHER_BYTES`] to send, WAL gathers for so
/// long. No commit waits for pageservers, and each message costs them, and through their feedback
/// the compute, more than the records of one commit do.
const GATHER_PAUSE: Duration = Duration::from_millis(10);
/// So much WAL is worth a message at once.
const GATHER_BYTES: u64 = MAX_CHUNK_BYTES / 2;
/// How often an idle reader is told that the safekeeper is alive.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

const PAGESERVER_APPNAME: &str = "pageserver";
const REPLICA_APPNAME: &str = "replica";

impl SafekeeperHandler {
    /// Runs the session to its end and tells the client why it ended.
    pub(super) async fn send_wal(
        &mut self,
        pgb: &mut PostgresBackend,
        ttid: TenantTimelineId,
        start: Lsn,
        term: Option<Term>,
    ) -> Result<(), QueryError> {
        let timeline = self.timelines.get(ttid).map_err(query_error)?;
        let timeline = timeline.resident().await.map_err(query_error)?;
        let slot = timeline.senders().register(
            self.peer,
            self.conn_id,
            self.appname.clone(),
            term.is_some(),
        );
        pgb.write_message(&BeMessage::CopyBothResponse)?.flush().await?;
        let (mut reader, mut writer) = pgb.split()?;
        let span = tracing::info_span!("WAL sender");
        let end = self
            .replication_session(&timeline, &slot, &mut reader, &mut writer, start, term)
            .instrument(span)
            .await;
        pgb.unsplit(reader, writer);
        if let CopyStreamEnd::CopyDone = end {
            // Stock clients end the stream like this and wait for the result of the command.
            tracing::info!("client ended the stream");
            pgb.write_message(&BeMessage::CopyDone)?
                .write_message(&BeMessage::CommandComplete("START_STREAMING"))?;
            return Ok(());
        }
        pgb.handle_copy_stream_end(end).await;
        Ok(())
    }

    async fn replication_session(
        &self,
        timeline: &WalResidentTimeline,
        slot: &WalSenderGuard,
        reader: &mut BackendReader,
        writer: &mut BackendWriter,
        start: Lsn,
        term: Option<Term>,
    ) -> CopyStreamEnd {
        let wal = match WalStream::open(timeline, start).await {
            Ok(wal) => wal,
            Err(error) => return stream_error(error),
        };
        let end = match term {
            None => End::Committed(timeline.watch_commit_lsn()),
            Some(term) => End::Durable { term, position: timeline.watch_flush_position() },
        };
        if start > end.current() {
            let available = end.current();
            tracing::warn!("start {start} is beyond the available WAL, which ends at {available}");
        }
        tracing::info!("starting streaming from {start}, available WAL ends at {}", end.current());
        let sender = WalSender {
            timeline,
            slot,
            appname: self.appname.as_deref(),
            traffic: &self.traffic,
            wal,
            end,
            buffer: BytesMut::new(),
        };
        // The session is over when either ends, so a half-done send or receive does not matter.
        let ended = tokio::select! {
            ended = sender.run(writer) => ended,
            ended = feedback::listen(timeline, slot, reader, &self.traffic) => ended,
            // A client that takes nothing must not hold up the timeline's deletion.
            () = timeline.cancellation().cancelled() => {
                Err(stream_error(TimelineError::Cancelled(timeline.ttid())))
            }
        };
        match ended {
            Err(end) => end,
            Ok(never) => match never {},
        }
    }
}

/// Up to where WAL may be sent.
enum End {
    Committed(watch::Receiver<Lsn>),
    Durable { term: Term, position: watch::Receiver<FlushPosition> },
}

impl End {
    fn current(&self) -> Lsn {
        match self {
            End::Committed(position) => *position.borrow(),
            End::Durable { position, .. } => position.borrow().flush_lsn,
        }
    }

    /// Returns when the end is beyond `position`. Cancel safe.
    async fn wait_beyond(&mut self, lsn: Lsn) -> Result<(), watch::error::RecvError> {
        match self {
            End::Committed(position) => position.wait_for(|end| *end > lsn).await.map(|_| ()),
            End::Durable { position, .. } => {
                position.wait_for(|end| end.flush_lsn > lsn).await.map(|_| ())
            }
        }
    }
}

/// A type without values: the two halves of a session only ever end by error.
enum Never {}

struct WalSender<'a> {
    timeline: &'a WalResidentTimeline,
    slot: &'a WalSenderGuard,
    appname: Option<&'a str>,
    traffic: &'a Traffic,
    wal: WalStream,
    end: End,
    buffer: BytesMut,
}

impl WalSender<'_> {
    async fn run(mut self, writer: &mut BackendWriter) -> Result<Never, CopyStreamEnd> {
        loop {
            self.wait_for_wal(writer).await?;
            let end = self.end.current();
            let position = self.wal.position();
            let length = chunk_end(position, end) - position;
            self.buffer.clear();
            XLogData::write_header(&mut self.buffer, position, end, now());
            self.read_chunk(length as usize).await?;
            self.send(writer).await?;
            self.let_wal_gather().await;
            if self.appname == Some(REPLICA_APPNAME) {
                utils::sleep_failpoint!("sk-send-wal-replica-sleep");
            }
        }
    }

    async fn let_wal_gather(&self) {
        let left = self.end.current().saturating_sub(self.wal.position());
        if self.appname == Some(PAGESERVER_APPNAME) && left < GATHER_BYTES {
            tokio::time::sleep(GATHER_PAUSE).await;
        }
    }

    /// Returns once there is something to send; until then shows signs of life.
    async fn wait_for_wal(&mut self, writer: &mut BackendWriter) -> Result<(), CopyStreamEnd> {
        loop {
            let position = self.wal.position();
            let available = async {
                match self.is_paused() {
                    true => std::future::pending().await,
                    false => self.end.wait_beyond(position).await,
                }
            };
            match tokio::time::timeout(KEEPALIVE_INTERVAL, available).await {
                Ok(Ok(())) => return Ok(()),
                // The timeline holds the senders of the watches and we hold the timeline.
                Ok(Err(closed)) => return Err(stream_error(closed)),
                Err(_elapsed) => {}
            }
            self.check_still_wanted()?;
            self.buffer.clear();
            PrimaryKeepalive {
                wal_end: self.end.current(),
                timestamp: now(),
                reply_requested: true,
            }
            .write(&mut self.buffer);
            self.send(writer).await?;
        }
    }

    fn is_paused(&self) -> bool {
        if self.appname == Some(PAGESERVER_APPNAME) {
            return false;
        }
        fail::fail_point!("sk-pause-send", |_| true);
        false
    }

    /// An idle pageserver that has everything should not hold a connection.
    fn check_still_wanted(&self) -> Result<(), CopyStreamEnd> {
        let commit_lsn = match &self.end {
            End::Durable { term: requested, position } => {
                let now = position.borrow().last_log_term;
                if now != *requested {
                    let text = format!("term changed: requested {requested}, now {now}");
                    return Err(stream_error(text));
                }
                return Ok(());
            }
            End::Committed(position) => *position.borrow(),
        };
        let Some(remote_consistent_lsn) = self.slot.pageserver_remote_consistent_lsn() else {
            return Ok(());
        };
        let caught_up = !commit_lsn.is_valid() || remote_consistent_lsn >= commit_lsn;
        if caught_up && self.timeline.receivers().count() == 0 {
            let (appname, position) = (self.appname, self.wal.position());
            return Err(CopyStreamEnd::ServerInitiated(format!(
                "ending streaming to {appname:?} at {position}, receiver is caughtup and there \
                 is no computes"
            )));
        }
        Ok(())
    }

    /// Appends `length` bytes of WAL to the buffer. In the name of a term the state stays locked
    /// meanwhile, so that no other leader can replace them.
    async fn read_chunk(&mut self, length: usize) -> Result<(), CopyStreamEnd> {
        let timeline: &Timeline = self.timeline;
        let unchanged = match &self.end {
            End::Committed(_) => None,
            End::Durable { term: requested, .. } => {
                let state = timeline.read().await;
                let current = state.term();
                if current != *requested {
                    return Err(stream_error(format!(
                        "failed to acquire term {requested}, current term {current}"
                    )));
                }
                Some(state)
            }
        };
        timeline.check_usable().map_err(stream_error)?;
        let header_length = self.buffer.len();
        self.buffer.put_bytes(0, length);
        let chunk = self.buffer.get_mut(header_length..).unwrap_or_default();
        let filled = self.wal.fill_from_disk(chunk).map_err(stream_error)?;
        // What is archived is committed, so it stays the same whoever leads.
        drop(unchanged);
        let rest = self.buffer.get_mut(header_length + filled..).unwrap_or_default();
        self.wal.fill_from_archive(rest).await.map_err(stream_error)
    }

    async fn send(&mut self, writer: &mut BackendWriter) -> Result<(), CopyStreamEnd> {
        writer.write_message(&BeMessage::CopyData(&self.buffer))?;
        writer.flush().await?;
        self.traffic.count_written(self.buffer.len());
        Ok(())
    }
}

fn now() -> PgTimestamp {
    PgTimestamp::from_system_time(SystemTime::now())
}

/// Where a chunk that starts at `position` ends: at the end of what is available or on a page
/// boundary, because standbys cannot take a record split anywhere else; never in the next segment.
fn chunk_end(position: Lsn, available: Lsn) -> Lsn {
    let limit = (position + MAX_CHUNK_BYTES).min(segment_start(segno(position) + 1));
    if limit >= available { available } else { limit.page_start() }
}

#[cfg(test)]
mod tests;
