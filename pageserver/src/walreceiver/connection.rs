//! One connection to a safekeeper: receive WAL, ingest it, report progress.
//!
//! Ends with the stream, with an error, or when told to; the manager decides what comes next.
//! There is one at a time per timeline, which makes it the timeline's only writer.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::BytesMut;
use postgres_client::{ConnectOptions, CopyBoth, CopySender};
use postgres_ffi::WAL_SEGMENT_SIZE;
use pq_proto::ProtocolError;
use pq_proto::replication::{PrimaryKeepalive, StandbyMessage, WalSenderMessage, XLogData};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;
use utils::Lsn;
use wal_decoder::{RecordDecodeError, WalDecodeError, WalStreamDecoder, record};

use super::WalReceiverConfig;
use super::candidates::ConnectionProgress;
use super::feedback::current_feedback;
use super::metrics::STARTED_CONNECTIONS;
use super::status::{ReceivedWal, WalReceiverStatus};
use super::timeline::ReceiverTimeline;
use crate::ingest::{IngestError, WAL_INGEST, WalIngest};
use crate::keymap::{DatadirModification, KeymapError, ModificationError};

/// How a safekeeper words the end of a stream that is no failure.
const STREAM_END: &str = "ending streaming";
const SUCCESSFUL_COMPLETION: &str = "00000";

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Connecting or talking failed.
    #[error(transparent)]
    Client(#[from] postgres_client::Error),
    /// The safekeeper sent something that is no replication message.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The safekeeper did not identify itself as it should.
    #[error("unexpected reply to IDENTIFY_SYSTEM: {0}")]
    Identify(&'static str),
    /// The timeline has no WAL position to go on from.
    #[error("No previous WAL position")]
    NoPosition,
    /// The stream does not continue where it should.
    #[error("WAL stream continues at {found} instead of {expected}")]
    Gap {
        /// Where the message starts.
        found: Lsn,
        /// Where it should.
        expected: Lsn,
    },
    /// A record ended at an impossible position.
    #[error("LSN not aligned: {0}")]
    NotAligned(Lsn),
    /// The stream is damaged.
    #[error(transparent)]
    Stream(#[from] WalDecodeError),
    /// A record is damaged.
    #[error("could not decode record at {lsn}")]
    Record {
        /// End of the record.
        lsn: Lsn,
        /// What is wrong.
        source: RecordDecodeError,
    },
    /// A record could not be ingested.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Ingested records could not be committed.
    #[error(transparent)]
    Modification(#[from] ModificationError),
    /// The timeline's contents could not be read.
    #[error(transparent)]
    Keymap(#[from] KeymapError),
}

impl ConnectionError {
    /// Whether this is part of normal operation: safekeepers and timelines come and go.
    pub(super) fn is_expected(&self) -> bool {
        match self {
            ConnectionError::Client(error) => error.is_transient() || is_stream_end(error),
            ConnectionError::Keymap(error)
            | ConnectionError::Modification(ModificationError::Keymap(error)) => error.is_cancel(),
            ConnectionError::Modification(ModificationError::Write(error)) => {
                matches!(error, crate::keymap::KeyWriteError::Cancelled)
            }
            ConnectionError::Protocol(_)
            | ConnectionError::Identify(_)
            | ConnectionError::NoPosition
            | ConnectionError::Gap { .. }
            | ConnectionError::NotAligned(_)
            | ConnectionError::Stream(_)
            | ConnectionError::Record { .. }
            | ConnectionError::Ingest(_)
            | ConnectionError::Modification(_) => false,
        }
    }
}

fn is_stream_end(error: &postgres_client::Error) -> bool {
    error.server_report().is_some_and(|report| {
        report.sqlstate == SUCCESSFUL_COMPLETION && report.message.contains(STREAM_END)
    })
}

/// Where a connection tells how far it is.
pub(super) struct Reports {
    /// For the manager, who chooses between safekeepers.
    pub progress: watch::Sender<ConnectionProgress>,
    /// For people.
    pub status: WalReceiverStatus,
    /// The safekeeper, for people.
    pub source: Arc<str>,
}

/// Receives from one safekeeper until the stream ends or `cancel` asks to stop.
pub(super) async fn run<T: ReceiverTimeline>(
    timeline: T,
    config: WalReceiverConfig,
    address: ConnectOptions,
    reports: Reports,
    cancel: CancellationToken,
) -> Result<(), ConnectionError> {
    STARTED_CONNECTIONS.inc();
    let connected = connect(&timeline, &config, address);
    let (start, end_of_wal, stream) = tokio::select! {
        // Nothing has been ingested, so it does not matter where this stops.
        () = cancel.cancelled() => return Ok(()),
        connected = connected => connected?,
    };
    info!("connected to safekeeper, streaming from {start}, its WAL ends at {end_of_wal}");
    let (mut receiver, sender) = stream.split();
    let mut session =
        Session::new(&timeline, &config, (start, end_of_wal), sender, reports).await?;
    session.report_connected();
    loop {
        let payload = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            // Cancel safe: what has been read stays in the receiver.
            payload = receiver.recv() => payload,
        };
        match payload {
            Ok(Some(payload)) => session.process(WalSenderMessage::parse(payload)?).await?,
            Ok(None) => return Ok(()),
            Err(error) if is_stream_end(&error) => {
                info!("safekeeper ended the stream: {error}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens a replication stream at the timeline's end.
async fn connect<T: ReceiverTimeline>(
    timeline: &T,
    config: &WalReceiverConfig,
    address: ConnectOptions,
) -> Result<(Lsn, Lsn, CopyBoth), ConnectionError> {
    let ttid = timeline.ttid();
    let mut options = vec![
        "-c".to_owned(),
        format!("timeline_id={}", ttid.timeline_id),
        format!("tenant_id={}", ttid.tenant_id),
    ];
    if let Some(zone) = &config.availability_zone {
        options.push(format!("availability_zone={zone}"));
    }
    let address = ConnectOptions {
        password: config.auth_token.clone(),
        application_name: Some("pageserver".to_owned()),
        options,
        replication: true,
        connect_timeout: config.connect_timeout,
        tls: config.tls.clone(),
        ..address
    };
    let mut client = address.connect().await?;
    let rows = client.simple_query("IDENTIFY_SYSTEM").await?;
    let row = rows.first().ok_or(ConnectionError::Identify("no row"))?;
    let xlogpos = row.by_name("xlogpos").ok_or(ConnectionError::Identify("no column xlogpos"))?;
    let end_of_wal =
        xlogpos.parse().map_err(|_| ConnectionError::Identify("xlogpos is not an LSN"))?;
    let last = timeline.last_record_lsn();
    if !last.is_valid() {
        return Err(ConnectionError::NoPosition);
    }
    // A compute never writes page headers that lie before its first record.
    let start = last.normalize(WAL_SEGMENT_SIZE as u64);
    let stream = client.copy_both(&format!("START_REPLICATION PHYSICAL {start}")).await?;
    Ok((start, end_of_wal, stream))
}

/// What is kept between messages.
struct Session<'a, T: ReceiverTimeline> {
    timeline: &'a T,
    batch_size: u64,
    end_of_wal: Lsn,
    caught_up: bool,
    decoder: WalStreamDecoder,
    ingest: WalIngest,
    modification: DatadirModification<'a, T>,
    sender: CopySender,
    reports: Reports,
}

impl<'a, T: ReceiverTimeline> Session<'a, T> {
    async fn new(
        timeline: &'a T,
        config: &WalReceiverConfig,
        (start, end_of_wal): (Lsn, Lsn),
        sender: CopySender,
        reports: Reports,
    ) -> Result<Self, ConnectionError> {
        let major = timeline.pg_major();
        let last = timeline.last_record_lsn();
        Ok(Session {
            timeline,
            batch_size: config.ingest_batch_size,
            end_of_wal,
            caught_up: false,
            decoder: WalStreamDecoder::new(start, major),
            ingest: WalIngest::new(timeline, timeline.shard_identity(), major, last).await?,
            modification: DatadirModification::begin(timeline, major, last),
            sender,
            reports,
        })
    }

    fn report_connected(&self) {
        self.reports.progress.send_modify(|progress| {
            progress.is_connected = true;
            progress.latest_message = Instant::now();
        });
    }

    async fn process(&mut self, message: WalSenderMessage) -> Result<(), ConnectionError> {
        match message {
            WalSenderMessage::XLogData(data) => self.process_wal(data).await,
            WalSenderMessage::Keepalive(keepalive) => self.process_keepalive(keepalive).await,
        }
    }

    async fn process_wal(&mut self, message: XLogData) -> Result<(), ConnectionError> {
        let (end, now) = (message.end_lsn(), Instant::now());
        self.reports.progress.send_modify(|progress| {
            progress.latest_message = now;
            progress.latest_wal = now;
            progress.commit_lsn = Some(message.wal_end);
        });
        if message.start_lsn != self.decoder.lsn() {
            let (found, expected) = (message.start_lsn, self.decoder.lsn());
            return Err(ConnectionError::Gap { found, expected });
        }
        WAL_INGEST.bytes_received.inc_by(message.data.len() as u64);
        self.decoder.feed_bytes(&message.data);
        self.ingest_complete_records().await?;
        self.reports.progress.send_modify(|progress| {
            progress.has_processed_wal = true;
            progress.streaming_lsn = Some(end);
        });
        let (source, at) = (Arc::clone(&self.reports.source), SystemTime::now());
        self.reports.status.set_last_wal(ReceivedWal { source, end_lsn: end, at });
        if !self.caught_up && end >= self.end_of_wal {
            info!("caught up at LSN {end}");
            self.caught_up = true;
        }
        self.send_feedback(end).await
    }

    async fn ingest_complete_records(&mut self) -> Result<(), ConnectionError> {
        let mut uncommitted = 0;
        while let Some((lsn, raw)) = self.decoder.poll_decode()? {
            if !lsn.is_aligned() {
                return Err(ConnectionError::NotAligned(lsn));
            }
            let record = record::decode(&raw, self.timeline.pg_major())
                .map_err(|source| ConnectionError::Record { lsn, source })?;
            self.ingest.ingest_record(&record, lsn, &mut self.modification).await?;
            fail::fail_point!("walreceiver-after-ingest");
            uncommitted += 1;
            if uncommitted >= self.batch_size {
                self.modification.commit().await?;
                uncommitted = 0;
            }
        }
        if uncommitted > 0 {
            self.modification.commit().await?;
        }
        Ok(())
    }

    async fn process_keepalive(
        &mut self,
        keepalive: PrimaryKeepalive,
    ) -> Result<(), ConnectionError> {
        self.reports.progress.send_modify(|progress| {
            progress.latest_message = Instant::now();
            progress.commit_lsn = Some(keepalive.wal_end);
        });
        if keepalive.reply_requested {
            self.send_feedback(self.timeline.last_record_lsn()).await?;
        }
        Ok(())
    }

    async fn send_feedback(&mut self, last_received_lsn: Lsn) -> Result<(), ConnectionError> {
        let feedback = current_feedback(self.timeline, last_received_lsn);
        let mut payload = BytesMut::new();
        StandbyMessage::PageserverFeedback(feedback).write(&mut payload);
        Ok(self.sender.send(&payload).await?)
    }
}
