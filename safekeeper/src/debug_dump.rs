//! Everything a safekeeper knows, as one JSON document for debugging.
//!
//! It is written timeline by timeline while it is being sent: a node with many timelines must not
//! build it in memory.

mod disk;
mod memory;

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::mpsc;
use utils::{NodeId, TenantId, TenantTimelineId, TimelineId};
use wal_quorum::TermHistory;
use wal_quorum::control_file::ControlFile;

use crate::config::Config;
use crate::timeline::Timeline;
use crate::timelines::Timelines;

/// The document is sent in pieces of about this size.
const PIECE_BYTES: usize = 128 * 1024;

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct DumpOptions {
    /// The persisted state.
    pub control_file: bool,
    /// What is in memory.
    pub memory: bool,
    /// What is on disk.
    pub disk_content: bool,
    /// The histories within the persisted states.
    pub term_history: bool,
    /// Only this tenant.
    pub tenant_id: Option<TenantId>,
    /// Only this timeline.
    pub timeline_id: Option<TimelineId>,
}

#[derive(Serialize)]
struct TimelineDump {
    tenant_id: TenantId,
    timeline_id: TimelineId,
    control_file: Option<ControlFile>,
    memory: Option<memory::Memory>,
    disk_content: Option<disk::DiskContent>,
}

#[derive(Serialize)]
struct ConfigDump<'a> {
    id: NodeId,
    workdir: &'a str,
    listen_pg_addr: &'a str,
    listen_http_addr: &'a str,
    no_sync: bool,
    max_offloader_lag_bytes: u64,
    wal_backup_enabled: bool,
}

impl DumpOptions {
    fn wants(&self, ttid: TenantTimelineId) -> bool {
        self.tenant_id.is_none_or(|id| id == ttid.tenant_id)
            && self.timeline_id.is_none_or(|id| id == ttid.timeline_id)
    }
}

/// Where the pieces of the document go.
pub type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// Sends the document. If the receiver goes away, or something cannot be shown, it is cut off.
pub async fn send(timelines: Arc<Timelines>, options: DumpOptions, pieces: Pieces) {
    if let Err(error) = send_all(&timelines, options, &pieces).await {
        tracing::warn!("debug dump is cut off: {error}");
        let _ = pieces.send(Err(error)).await;
    }
}

async fn send_all(timelines: &Timelines, options: DumpOptions, pieces: &Pieces) -> io::Result<()> {
    let mut document = Document { buffer: BytesMut::new(), pieces };
    let start_time = Utc::now();
    let all = timelines.all();
    document.text("{\"start_time\":");
    document.value(&start_time)?;
    document.text(",\"timelines\":[");
    let wanted = all.iter().filter(|timeline| options.wants(timeline.ttid()));
    for (index, timeline) in wanted.enumerate() {
        if index > 0 {
            document.text(",");
        }
        document.value(&dump(timeline, options).await?)?;
        document.send_when_long().await?;
    }
    document.text("],\"timelines_count\":");
    document.value(&all.len())?;
    document.text(",\"config\":");
    document.value(&config(timelines.config()))?;
    document.text(",\"finish_time\":");
    document.value(&Utc::now())?;
    document.text("}");
    document.send().await
}

async fn dump(timeline: &Arc<Timeline>, options: DumpOptions) -> io::Result<TimelineDump> {
    let ttid = timeline.ttid();
    let control_file = match options.control_file {
        true => Some(control_file(timeline, options.term_history).await),
        false => None,
    };
    let memory = match options.memory {
        true => Some(memory::Memory::of(timeline).await),
        false => None,
    };
    let disk_content = match options.disk_content {
        true => Some(disk::DiskContent::of(timeline.dir()).await?),
        false => None,
    };
    let TenantTimelineId { tenant_id, timeline_id } = ttid;
    Ok(TimelineDump { tenant_id, timeline_id, control_file, memory, disk_content })
}

async fn control_file(timeline: &Timeline, with_history: bool) -> ControlFile {
    let mut file = timeline.read().await.control().persistent().clone();
    if !with_history {
        file.acceptor_state.term_history = TermHistory::default();
    }
    file
}

fn config(config: &Config) -> ConfigDump<'_> {
    ConfigDump {
        id: config.id,
        workdir: config.workdir.as_str(),
        listen_pg_addr: &config.listen_pg,
        listen_http_addr: &config.listen_http,
        no_sync: config.durability == crate::durability::Durability::Unsynced,
        max_offloader_lag_bytes: config.max_offloader_lag_bytes,
        wal_backup_enabled: config.wal_backup_enabled,
    }
}

struct Document<'a> {
    buffer: BytesMut,
    pieces: &'a Pieces,
}

impl Document<'_> {
    fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.buffer.extend_from_slice(&serde_json::to_vec(value)?);
        Ok(())
    }

    async fn send_when_long(&mut self) -> io::Result<()> {
        match self.buffer.len() >= PIECE_BYTES {
            true => self.send().await,
            false => Ok(()),
        }
    }

    async fn send(&mut self) -> io::Result<()> {
        let piece = self.buffer.split().freeze();
        let sent = self.pieces.send(Ok(piece)).await;
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the receiver is gone"))
    }
}

/// A moment as the document shows it; files without one show the epoch.
fn moment(time: io::Result<std::time::SystemTime>) -> DateTime<Utc> {
    time.map_or(DateTime::UNIX_EPOCH, DateTime::from)
}
