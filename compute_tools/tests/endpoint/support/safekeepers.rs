//! Safekeepers that keep everything in memory: the real acceptor behind the real protocol.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use postgres_backend::{
    AuthType, BeMessage, CopyStreamEnd, Handler, PostgresBackend, QueryError, RowDescriptor,
};
use postgres_ffi::xlog::{WalIdentity, segment_start_image};
use postgres_ffi::{PgMajor, WAL_SEGMENT_SIZE};
use pq_proto::{PgTimestamp, XLogData};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utils::{Lsn, NodeId, TenantTimelineId};
use wal_decoder::stream::WalStreamDecoder;
use wal_quorum::acceptor::Acceptor;
use wal_quorum::control_file::{ControlFile, ServerInfo};
use wal_quorum::messages::ProposerMessage;
use wal_quorum::state::TimelineState;
use wal_quorum::storage::{ControlStore, StorageError, WalStorage};

#[derive(Default)]
pub struct MemoryControl;

impl ControlStore for MemoryControl {
    fn persist(&mut self, _: &ControlFile) -> Result<(), StorageError> {
        Ok(())
    }
}

/// WAL in memory, from where it begins.
pub struct MemoryWal {
    pub start: Lsn,
    pub bytes: Vec<u8>,
    major: PgMajor,
    decoder: Option<WalStreamDecoder>,
    record_end: Lsn,
}

impl MemoryWal {
    fn new(major: PgMajor) -> Self {
        Self { start: Lsn(0), bytes: Vec::new(), major, decoder: None, record_end: Lsn(0) }
    }
}

impl WalStorage for MemoryWal {
    fn write_lsn(&self) -> Lsn {
        self.start + self.bytes.len() as u64
    }

    fn write_record_lsn(&self) -> Lsn {
        self.record_end
    }

    fn flush_record_lsn(&self) -> Lsn {
        self.record_end
    }

    fn initialize_first_segment(&mut self, _: Lsn, _: &ServerInfo) -> Result<(), StorageError> {
        Ok(())
    }

    fn write_wal(&mut self, start: Lsn, wal: &[u8]) -> Result<(), StorageError> {
        if self.bytes.is_empty() {
            self.start = start;
            self.record_end = start;
        }
        assert_eq!(start, self.write_lsn());
        self.bytes.extend_from_slice(wal);
        let decoder = self.decoder.get_or_insert_with(|| WalStreamDecoder::new(start, self.major));
        decoder.feed_bytes(wal);
        while let Some((end, _)) = decoder.poll_decode()? {
            self.record_end = end;
        }
        Ok(())
    }

    fn truncate_wal(&mut self, end: Lsn) -> Result<(), StorageError> {
        if !self.bytes.is_empty() {
            self.bytes.truncate(end.0.saturating_sub(self.start.0) as usize);
            self.record_end = end;
            self.decoder = Some(WalStreamDecoder::new(end, self.major));
        }
        Ok(())
    }

    fn flush_wal(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}

pub type MemoryAcceptor = Acceptor<MemoryWal, MemoryControl>;

/// One safekeeper of one timeline.
#[derive(Clone)]
pub struct Safekeeper {
    pub port: u16,
    acceptor: Arc<Mutex<MemoryAcceptor>>,
    /// Ends all sessions and refuses new ones until replaced.
    offline: Arc<Mutex<Option<CancellationToken>>>,
    push_sessions: Arc<AtomicUsize>,
}

impl Safekeeper {
    pub async fn start(ttid: TenantTimelineId, id: u64, major: PgMajor) -> Self {
        let server =
            ServerInfo { pg_version: 0, system_id: 0, wal_seg_size: WAL_SEGMENT_SIZE as u32 };
        let file = ControlFile::new(ttid, server, Lsn(0), Lsn(0));
        let state = TimelineState::create(MemoryControl, file).unwrap();
        let acceptor = Acceptor::new(state, MemoryWal::new(major), NodeId(id));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let safekeeper = Self {
            port: listener.local_addr().unwrap().port(),
            acceptor: Arc::new(Mutex::new(acceptor)),
            offline: Arc::new(Mutex::new(Some(CancellationToken::new()))),
            push_sessions: Arc::default(),
        };
        let server = safekeeper.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let online = server.offline.lock().unwrap().clone();
                let Some(cancel) = online else { continue };
                let pgb = PostgresBackend::new(socket, AuthType::Trust).unwrap();
                let mut handler = Session { safekeeper: server.clone(), cancel: cancel.clone() };
                tokio::spawn(async move { pgb.run(&mut handler, &cancel).await });
            }
        });
        safekeeper
    }

    pub fn go_offline(&self) {
        if let Some(cancel) = self.offline.lock().unwrap().take() {
            cancel.cancel();
        }
    }

    pub fn come_back(&self) {
        *self.offline.lock().unwrap() = Some(CancellationToken::new());
    }

    pub fn with_acceptor<R>(&self, action: impl FnOnce(&mut MemoryAcceptor) -> R) -> R {
        action(&mut self.acceptor.lock().unwrap())
    }

    /// How often START_WAL_PUSH was asked for.
    pub fn push_sessions(&self) -> usize {
        self.push_sessions.load(Ordering::Relaxed)
    }

    pub fn flush_lsn(&self) -> Lsn {
        self.with_acceptor(|acceptor| acceptor.flush_lsn())
    }

    pub fn commit_lsn(&self) -> Lsn {
        self.with_acceptor(|acceptor| acceptor.state().memory.commit_lsn)
    }

    pub fn term(&self) -> u64 {
        self.with_acceptor(|acceptor| acceptor.term())
    }

    fn identity(&self) -> WalIdentity {
        self.with_acceptor(|acceptor| WalIdentity {
            major: acceptor.wal().major,
            system_id: acceptor.state().server.system_id,
        })
    }

    /// What a standby is served: from the start of the segment in which the log begins.
    fn served_wal(&self) -> (Lsn, Vec<u8>) {
        let (start, wal) = self.wal();
        let offset = start.segment_offset(WAL_SEGMENT_SIZE as u64);
        let mut bytes = segment_start_image(self.identity(), start);
        bytes.truncate(offset as usize);
        bytes.extend_from_slice(&wal);
        (Lsn(start.0 - offset), bytes)
    }

    /// The WAL it has, and where that begins.
    pub fn wal(&self) -> (Lsn, Vec<u8>) {
        self.with_acceptor(|acceptor| (acceptor.wal().start, acceptor.wal().bytes.clone()))
    }
}

struct Session {
    safekeeper: Safekeeper,
    cancel: CancellationToken,
}

impl Handler for Session {
    async fn process_query(
        &mut self,
        pgb: &mut PostgresBackend,
        query: &str,
    ) -> Result<(), QueryError> {
        if query == "START_WAL_PUSH" {
            self.safekeeper.push_sessions.fetch_add(1, Ordering::Relaxed);
            pgb.write_message(&BeMessage::CopyBothResponse)?.flush().await?;
            let end = self.receive_wal(pgb).await.unwrap_err();
            pgb.handle_copy_stream_end(end).await;
            return Ok(());
        }
        if query == "TIMELINE_STATUS" {
            return self.timeline_status(pgb);
        }
        if query == "IDENTIFY_SYSTEM" {
            return self.identify_system(pgb);
        }
        let start = query.split(' ').find(|word| word.contains('/')).unwrap();
        let start: Lsn = start.parse().unwrap();
        pgb.write_message(&BeMessage::CopyBothResponse)?.flush().await?;
        let end = self.send_wal(pgb, start).await.unwrap_err();
        pgb.handle_copy_stream_end(end).await;
        Ok(())
    }
}

impl Session {
    fn timeline_status(&self, pgb: &mut PostgresBackend) -> Result<(), QueryError> {
        let flush = self.safekeeper.flush_lsn().to_string();
        let commit = self.safekeeper.commit_lsn().to_string();
        let columns = [RowDescriptor::text("flush_lsn"), RowDescriptor::text("commit_lsn")];
        pgb.write_message(&BeMessage::RowDescription(&columns))?;
        let row = [Some(flush.as_bytes()), Some(commit.as_bytes())];
        pgb.write_message(&BeMessage::DataRow(&row))?;
        pgb.write_message(&BeMessage::CommandComplete("TIMELINE_STATUS"))?;
        Ok(())
    }

    fn identify_system(&self, pgb: &mut PostgresBackend) -> Result<(), QueryError> {
        let system_id = self.safekeeper.identity().system_id.to_string();
        let commit = self.safekeeper.commit_lsn().to_string();
        let columns = ["systemid", "timeline", "xlogpos", "dbname"].map(RowDescriptor::text);
        pgb.write_message(&BeMessage::RowDescription(&columns))?;
        let row = [Some(system_id.as_bytes()), Some(&b"1"[..]), Some(commit.as_bytes()), None];
        pgb.write_message(&BeMessage::DataRow(&row))?;
        pgb.write_message(&BeMessage::CommandComplete("IDENTIFY_SYSTEM"))?;
        Ok(())
    }

    async fn receive_wal(&self, pgb: &mut PostgresBackend) -> Result<(), CopyStreamEnd> {
        loop {
            // Biased, so that nothing is taken any more once the safekeeper went offline.
            let payload = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(CopyStreamEnd::Eof),
                payload = pgb.read_copy_message() => payload?,
            };
            let message = ProposerMessage::decode(payload).map_err(anyhow::Error::from)?;
            let answer = self
                .safekeeper
                .with_acceptor(|acceptor| acceptor.process(message))
                .map_err(anyhow::Error::from)?;
            if let Some(answer) = answer {
                pgb.write_message(&BeMessage::CopyData(&answer.encode()))?.flush().await?;
            }
        }
    }

    async fn send_wal(&self, pgb: &mut PostgresBackend, start: Lsn) -> Result<(), CopyStreamEnd> {
        let mut position = start;
        loop {
            let (first, bytes) = self.safekeeper.served_wal();
            let end = first + bytes.len() as u64;
            if position < first {
                return Err(anyhow::anyhow!("no WAL at {position}").into());
            }
            let from = (position.0 - first.0) as usize;
            for chunk in bytes[from.min(bytes.len())..].chunks(100_000) {
                let data = Bytes::copy_from_slice(chunk);
                let timestamp = PgTimestamp::default();
                let wal = XLogData { start_lsn: position, wal_end: end, timestamp, data };
                position = wal.end_lsn();
                let mut payload = BytesMut::new();
                wal.write(&mut payload);
                pgb.write_message(&BeMessage::CopyData(&payload))?.flush().await?;
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Err(CopyStreamEnd::Eof),
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
            }
        }
    }
}
