//! The commands `import basebackup` and `import wal`: archives that arrive as COPY data.

use std::io;

use bytes::Bytes;
use postgres_backend::{BeMessage, FeMessage, PostgresBackend, QueryError};
use postgres_ffi::PgMajor;
use tokio::sync::mpsc;
use utils::{Lsn, TenantId, TimelineId};

use super::directory::{ImportFailure, TimelineDirectory};
use super::handler::PageServiceHandler;

/// Pieces of an archive that wait to be read.
const WAITING_CHUNKS: usize = 16;

/// An import failed; the client reads why.
#[derive(Debug, thiserror::Error)]
#[error("error importing {what} between {start} and {end}: {failure}")]
struct FailedImport {
    what: &'static str,
    start: Lsn,
    end: Lsn,
    failure: ImportFailure,
}

impl<D: TimelineDirectory> PageServiceHandler<D> {
    pub(super) async fn handle_import_basebackup(
        &mut self,
        pgb: &mut PostgresBackend,
        id: (TenantId, TimelineId),
        (start, end): (Lsn, Lsn),
        major: PgMajor,
    ) -> Result<(), QueryError> {
        let (sender, tar) = mpsc::channel(WAITING_CHUNKS);
        let import = self.directory().import_basebackup(id, start, major, tar);
        let (received, imported) = receive(pgb, sender, import).await;
        received?;
        let what = "base backup";
        finish(imported, |failure| FailedImport { what, start, end, failure })
    }

    pub(super) async fn handle_import_wal(
        &mut self,
        pgb: &mut PostgresBackend,
        id: (TenantId, TimelineId),
        (start, end): (Lsn, Lsn),
    ) -> Result<(), QueryError> {
        let (sender, tar) = mpsc::channel(WAITING_CHUNKS);
        let import = self.directory().import_wal(id, (start, end), tar);
        let (received, imported) = receive(pgb, sender, import).await;
        received?;
        finish(imported, |failure| FailedImport { what: "WAL", start, end, failure })
    }
}

fn finish(
    imported: Result<(), ImportFailure>,
    describe: impl FnOnce(ImportFailure) -> FailedImport,
) -> Result<(), QueryError> {
    imported.map_err(|failure| {
        let failed = describe(failure);
        tracing::error!("{failed}");
        QueryError::Other(failed.into())
    })
}

/// Feeds COPY data to an import until both are done.
async fn receive(
    pgb: &mut PostgresBackend,
    sender: mpsc::Sender<io::Result<Bytes>>,
    import: impl Future<Output = Result<(), ImportFailure>>,
) -> (Result<(), QueryError>, Result<(), ImportFailure>) {
    tokio::join!(pump(pgb, sender), import)
}

/// Passes the payload of COPY data on. What comes after the import has given up is read and dropped:
/// only then does the client read the answer.
async fn pump(
    pgb: &mut PostgresBackend,
    sender: mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), QueryError> {
    pgb.write_message(&BeMessage::CopyInResponse)?;
    pgb.flush().await?;
    let broken = |kind: io::ErrorKind, text: &str| io::Error::new(kind, text.to_owned());
    loop {
        let (kind, text) = match pgb.read_message().await? {
            Some(FeMessage::CopyData(bytes)) => {
                // The import may have ended; the rest is dropped.
                let _ = sender.send(Ok(bytes)).await;
                continue;
            }
            Some(FeMessage::CopyDone) => return Ok(()),
            Some(FeMessage::Sync) => continue,
            Some(FeMessage::CopyFail(_)) => {
                let text = "the client gave up: received CopyFail";
                let _ = sender.send(Err(broken(io::ErrorKind::ConnectionAborted, text))).await;
                return Ok(());
            }
            Some(FeMessage::Terminate) => (
                io::ErrorKind::ConnectionAborted,
                "client terminated connection with Terminate message during COPY".to_owned(),
            ),
            None => {
                let text = "client closed connection during COPY";
                (io::ErrorKind::ConnectionAborted, text.to_owned())
            }
            Some(other) => {
                (io::ErrorKind::InvalidData, format!("unexpected message {}", other.name()))
            }
        };
        let _ = sender.send(Err(broken(kind, &text))).await;
        return Err(broken(kind, &text).into());
    }
}
