//! Fetching a whole timeline from another safekeeper.

use std::io::{self, Read};
use std::path::{Component, Path};

use camino::Utf8Path;
use futures::TryStreamExt;
use postgres_ffi::xlog::segment::parse_segment_file_name;
use safekeeper_api::client::{Client, ClientError};
use safekeeper_api::models::{PullTimelineRequest, PullTimelineResponse, TimelineStatus};
use tokio_util::io::{StreamReader, SyncIoBridge};
use utils::TenantTimelineId;
use wal_quorum::control_file::PartialBackupState;
use wal_quorum::storage::ControlStore;

use super::Timelines;
use super::construction::Construction;
use crate::blocking;
use crate::control_store::{self, CONTROL_FILE_NAME, FileControlStore};
use crate::durability::Durability;
use crate::timeline::TimelineError;
use crate::wal_storage::SEGMENT_SIZE;

/// A control file is never longer than that.
const MAX_CONTROL_FILE_BYTES: u64 = 1 << 20;
const TAR_BLOCK_BYTES: u64 = 512;

/// Why a timeline was not pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// It is here already.
    #[error("timeline {0} exists here already")]
    Exists(TenantTimelineId),
    /// Nobody to pull from.
    #[error("http_hosts is empty: name at least one safekeeper that has the timeline")]
    NoHosts,
    /// A safekeeper did not answer.
    #[error(transparent)]
    Peer(#[from] ClientError),
    /// The archive ended early or is damaged.
    #[error("the snapshot sent by {host} is of no use: {source}")]
    Snapshot {
        /// Who sent it.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// What came cannot be put in place.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// Unpacking panicked.
    #[error("unpacking failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Timelines {
    /// Makes the timeline a copy of what the most advanced of the named safekeepers has.
    pub async fn pull(
        &self,
        request: &PullTimelineRequest,
    ) -> Result<PullTimelineResponse, PullError> {
        let ttid = TenantTimelineId::new(request.tenant_id, request.timeline_id);
        if self.exists(ttid) {
            return Err(PullError::Exists(ttid));
        }
        let (host, donor) = self.best_donor(request).await?;
        tracing::info!("pulling timeline {ttid} from {host}");
        let construction = self.begin_construction(ttid)?;
        let response = donor.snapshot(ttid.tenant_id, ttid.timeline_id).await?;
        let body = response.bytes_stream().map_err(io::Error::other);
        let reader = SyncIoBridge::new(StreamReader::new(Box::pin(body)));
        let durability = self.config().durability;
        let dir = construction.dir().to_owned();
        let unpacked = tokio::task::spawn_blocking(move || unpack(reader, &dir, durability));
        let failed = |source| PullError::Snapshot { host: host.clone(), source };
        unpacked.await?.map_err(failed)?;
        self.make_own(&construction)?;
        self.install(construction).await?;
        tracing::info!("pulled timeline {ttid} from {host}");
        Ok(PullTimelineResponse { safekeeper_host: host })
    }

    async fn best_donor(
        &self,
        request: &PullTimelineRequest,
    ) -> Result<(String, Client), PullError> {
        let progress = |status: &TimelineStatus| {
            (status.acceptor_state.epoch, status.flush_lsn, status.commit_lsn)
        };
        let mut best: Option<(_, String, Client)> = None;
        for host in &request.http_hosts {
            let client = self.node().peer(host);
            let status = client.timeline_status(request.tenant_id, request.timeline_id).await?;
            let progress = progress(&status);
            if best.as_ref().is_none_or(|(known, ..)| progress > *known) {
                best = Some((progress, host.clone(), client));
            }
        }
        best.map(|(_, host, client)| (host, client)).ok_or(PullError::NoHosts)
    }

    /// The donor's partial segments in the archive are the donor's to delete.
    fn make_own(&self, construction: &Construction) -> Result<(), TimelineError> {
        let path = construction.dir().join(CONTROL_FILE_NAME);
        let mut file = control_store::read(&path)?;
        file.partial_backup = PartialBackupState::default();
        let ttid = file.ttid();
        let mut store = FileControlStore::new(construction.dir(), self.config().durability);
        blocking::run(|| store.persist(&file))
            .map_err(|source| TimelineError::ControlFile { ttid, source })
    }
}

/// Counts what is read, because an archive that was cut off between two files looks whole.
struct Counting<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

fn unpack(reader: impl Read, dir: &Utf8Path, durability: Durability) -> io::Result<()> {
    let mut archive = tar::Archive::new(Counting { inner: reader, bytes: 0 });
    let mut content_bytes = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let size = entry.size();
        let name = file_name(&entry.path()?, entry.header().entry_type(), size)?;
        let mut file = std::fs::File::create_new(dir.join(name))?;
        let copied = io::copy(&mut entry, &mut file)?;
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        durability.sync_all(&file)?;
        content_bytes += TAR_BLOCK_BYTES + size.next_multiple_of(TAR_BLOCK_BYTES);
    }
    // Behind the last file there must be the end mark.
    match archive.into_inner().bytes > content_bytes {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive was cut off")),
    }
}

/// The name of a file that may be part of a timeline, and nothing else.
fn file_name(path: &Path, kind: tar::EntryType, size: u64) -> io::Result<String> {
    let refused = |reason: &str| {
        let text = format!("unexpected entry {} in the archive: {reason}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    if kind != tar::EntryType::Regular {
        return Err(refused("not a regular file"));
    }
    let mut components = path.components();
    let (Some(Component::Normal(name)), None) = (components.next(), components.next()) else {
        return Err(refused("not a plain file name"));
    };
    let name = name.to_str().ok_or_else(|| refused("the name is not UTF-8"))?;
    let fits = match name {
        CONTROL_FILE_NAME => size <= MAX_CONTROL_FILE_BYTES,
        segment => parse_segment_file_name(segment).is_some() && size == SEGMENT_SIZE,
    };
    if fits { Ok(name.to_owned()) } else { Err(refused("neither control file nor segment")) }
}

#[cfg(test)]
mod tests;
