//! What is the same in every data directory: its directories and configuration files.

use postgres_ffi::PgMajor;
use tokio::io::AsyncWrite;

use crate::keymap::KeyReader;

use super::{Backup, BasebackupError};

const DIRECTORIES: [&str; 22] = [
    "global",
    "pg_wal/archive_status",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
    "pg_twophase",
    "pg_multixact",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "base",
    "base/1",
    "pg_replslot",
    "pg_tblspc",
    "pg_stat",
    "pg_stat_tmp",
    "pg_xact",
    "pg_logical",
    "pg_logical/snapshots",
    "pg_logical/mappings",
];

/// Since 17.
const WAL_SUMMARIES: &str = "pg_wal/summaries";

const PG_HBA_CONF: &str = "\
# Who may connect. Connections from this machine are trusted, for ordinary and for replication
# use. Whoever runs the server may replace this file.
#
# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             all                                     trust
host    all             all             127.0.0.1/32            trust
host    all             all             ::1/128                 trust
local   replication     all                                     trust
host    replication     all             127.0.0.1/32            trust
host    replication     all             ::1/128                 trust
";

/// Content of `PG_VERSION`.
pub(super) fn version_file(major: PgMajor) -> &'static str {
    match major {
        PgMajor::V15 => "15",
        PgMajor::V16 => "16\n",
        PgMajor::V17 => "17\n",
        PgMajor::V18 => "18\n",
    }
}

impl<R: KeyReader, W: AsyncWrite + Unpin + Send> Backup<'_, R, W> {
    pub(super) async fn add_directories(&mut self) -> Result<(), BasebackupError> {
        let newer = (self.request.major >= PgMajor::V17).then_some(WAL_SUMMARIES);
        for directory in DIRECTORIES.into_iter().chain(newer) {
            self.tar.directory(directory).await.map_err(BasebackupError::Client)?;
        }
        Ok(())
    }

    pub(super) async fn add_configuration(&mut self) -> Result<(), BasebackupError> {
        self.add_file("pg_hba.conf", PG_HBA_CONF.as_bytes()).await?;
        self.add_file("pg_ident.conf", b"").await?;
        self.add_file("postgresql.auto.conf", b"").await
    }
}
