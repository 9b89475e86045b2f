//! A page service that knows one backup: a cluster that initdb made, at the end of its WAL.

use std::path::Path;
use std::sync::Arc;

use postgres_backend::{AuthType, BeMessage, Handler, PostgresBackend, QueryError, RowDescriptor};
use postgres_ffi::WAL_SEGMENT_SIZE;
use postgres_ffi::control_file::ControlFile;
use postgres_ffi::xlog::{ShutdownCheckpoint, WalIdentity, segment_file_name};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utils::Lsn;

/// The bytes of a shutdown checkpoint record, padded.
const CHECKPOINT_RECORD_BYTES: u64 = 120;

pub struct Backup {
    pub start_lsn: Lsn,
    pub prev_lsn: Lsn,
    tar: Vec<u8>,
}

impl Backup {
    /// Of a cluster that was never started: its last record is the checkpoint of initdb.
    pub fn of_fresh_cluster(pgdata: &Path) -> Self {
        let bytes = std::fs::read(pgdata.join("global/pg_control")).unwrap();
        let mut control_file = ControlFile::parse(&bytes).unwrap();
        let prev_lsn = control_file.checkpoint_lsn();
        let start_lsn = prev_lsn + CHECKPOINT_RECORD_BYTES;
        let system_id = control_file.system_identifier();
        let identity = WalIdentity { major: control_file.major(), system_id };
        let checkpoint =
            ShutdownCheckpoint::new(identity, start_lsn, prev_lsn, &control_file.checkpoint());
        control_file.set_clean_shutdown(checkpoint.position, &checkpoint.checkpoint);

        let mut tar = tar::Builder::new(Vec::new());
        append_directory(&mut tar, pgdata, Path::new(""));
        append(&mut tar, "global/pg_control", &control_file.to_bytes());
        for (number, segment) in checkpoint.segments() {
            assert_eq!(segment.len(), WAL_SEGMENT_SIZE);
            append(&mut tar, &format!("pg_wal/{}", segment_file_name(number)), &segment);
        }
        Self { start_lsn, prev_lsn, tar: tar.into_inner().unwrap() }
    }
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, path, content).unwrap();
}

fn append_directory(tar: &mut tar::Builder<Vec<u8>>, root: &Path, relative: &Path) {
    for entry in std::fs::read_dir(root.join(relative)).unwrap() {
        let entry = entry.unwrap();
        let path = relative.join(entry.file_name());
        let text = path.to_str().unwrap();
        let left_out = ["postgresql.conf", "global/pg_control"].contains(&text)
            || relative.starts_with("pg_wal") && entry.file_type().unwrap().is_file();
        if left_out {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            tar.append_dir(&path, entry.path()).unwrap();
            append_directory(tar, root, &path);
        } else {
            append(tar, text, &std::fs::read(entry.path()).unwrap());
        }
    }
}

struct PageService(Arc<Backup>);

impl Handler for PageService {
    async fn process_query(
        &mut self,
        pgb: &mut PostgresBackend,
        query: &str,
    ) -> Result<(), QueryError> {
        let mut words = query.split_whitespace();
        match words.next().unwrap() {
            "get_last_record_rlsn" => {
                let (prev, last) = (self.0.prev_lsn.to_string(), self.0.start_lsn.to_string());
                let columns = [RowDescriptor::text("prev_lsn"), RowDescriptor::text("last_lsn")];
                pgb.write_message(&BeMessage::RowDescription(&columns))?;
                let row = [Some(prev.as_bytes()), Some(last.as_bytes())];
                pgb.write_message(&BeMessage::DataRow(&row))?;
            }
            // The only checkpoint is the synthetic one that the primary starts with.
            "get_checkpoint" => {
                let lsn = self.0.start_lsn.normalize(WAL_SEGMENT_SIZE as u64).to_string();
                let columns = [RowDescriptor::text("redo"), RowDescriptor::text("last_lsn")];
                pgb.write_message(&BeMessage::RowDescription(&columns))?;
                let row = [Some(lsn.as_bytes()), Some(lsn.as_bytes())];
                pgb.write_message(&BeMessage::DataRow(&row))?;
            }
            "lease" => {}
            "fullbackup" => {
                let asked: Lsn = words.nth(2).unwrap().parse().unwrap();
                let segment_size = WAL_SEGMENT_SIZE as u64;
                assert_eq!(asked.normalize(segment_size), self.0.start_lsn.normalize(segment_size));
                pgb.write_message(&BeMessage::CopyOutResponse)?;
                let mut writer = pgb.copy_out_writer()?;
                for chunk in self.0.tar.chunks(100_000) {
                    writer.write_all(chunk).await?;
                }
                pgb.write_message(&BeMessage::CopyDone)?;
            }
            other => return Err(QueryError::Other(anyhow::anyhow!("unknown command {other}"))),
        }
        pgb.write_message(&BeMessage::CommandComplete("SELECT 1"))?;
        Ok(())
    }
}

/// Serves `backup` until the test ends; returns the port.
pub async fn serve(backup: Arc<Backup>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let pgb = PostgresBackend::new(socket, AuthType::Trust).unwrap();
            let mut handler = PageService(backup.clone());
            let cancel = CancellationToken::new();
            tokio::spawn(async move { pgb.run(&mut handler, &cancel).await });
        }
    });
    port
}
