//! From a position to a data directory that PostgreSQL can start on: the steps that all kinds
//! of endpoint share.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use postgres_client::ConnectOptions;
use postgres_ffi::PgMajor;
use postgres_ffi::control_file::ControlFile;
use utils::Lsn;

use crate::basebackup::{self, Backup, CONTROL_FILE};
use crate::config::{PostgresConfig, RenderInput, pg_hba, render};
use crate::pageserver::Pageserver;
use crate::pgdata::Pgdata;
use crate::postgres::PostgresProgram;
use crate::spec::Endpoint;
use crate::status::{ComputeStatus, StatusBoard};

/// The file that makes PostgreSQL a standby.
const STANDBY_SIGNAL: &str = "standby.signal";

/// Everything a start needs to know.
#[derive(Clone, Debug)]
pub struct BootContext {
    /// The checked spec.
    pub endpoint: Endpoint,
    /// The board.
    pub board: Arc<StatusBoard>,
    /// The server's program.
    pub program: PostgresProgram,
    /// Command line: data directory and accounts.
    pub arguments: Arc<crate::cli::Arguments>,
    /// The superuser's session.
    pub admin: ConnectOptions,
}

/// A data directory whose control file is still missing.
#[derive(Debug)]
pub struct UnfinishedDirectory {
    /// Where it is.
    pub pgdata: Pgdata,
    /// What the backup brought.
    pub backup: Backup,
    /// Its control file.
    pub control_file: ControlFile,
}

impl BootContext {
    /// The page service of this endpoint's timeline.
    pub fn pageserver(&self) -> Pageserver {
        Pageserver::new(self.endpoint.pageserver.clone(), self.endpoint.ttid)
    }

    /// The configuration; wrong settings show up here, before anything is touched.
    pub fn config(&self) -> anyhow::Result<PostgresConfig> {
        let config = render(RenderInput {
            cluster: &self.endpoint.cluster,
            mode: self.endpoint.mode,
            major: self.program.major(),
            safekeepers: &self.endpoint.safekeepers,
            port: self.admin.port,
        })?;
        if !config.dropped.is_empty() {
            tracing::info!("settings decided by compute_ctl: {}", config.dropped.join(", "));
        }
        Ok(config)
    }

    /// Leases `lsn` and unpacks the backup at it.
    pub async fn receive_backup(
        &self,
        lsn: Lsn,
        prev_lsn: Lsn,
    ) -> anyhow::Result<UnfinishedDirectory> {
        self.board.enter(ComputeStatus::Basebackup);
        self.board.update_positions(|positions| positions.start_lsn = lsn);
        let pageserver = self.pageserver();
        if let Err(error) = pageserver.lease(lsn).await {
            // Without a lease the backup works unless garbage collection overtakes it.
            tracing::warn!("going on without a lease on {lsn}: {error}");
        }
        let started = Instant::now();
        let pgdata = Pgdata::create(&self.arguments.pgdata, &self.arguments.postgres_user)?;
        let stream = pageserver.fullbackup(lsn, prev_lsn).await?;
        let target = pgdata.path().to_owned();
        let backup = basebackup::unpack(stream, target, self.board.clone())
            .await
            .with_context(|| format!("base backup at {lsn} from the pageserver"))?;
        tracing::info!(
            "base backup at {lsn}: {} files, {} MiB in {:?}",
            backup.files,
            backup.size_bytes >> 20,
            started.elapsed()
        );
        let control_file = ControlFile::parse(&backup.control_file)
            .with_context(|| format!("{CONTROL_FILE} of the base backup"))?;
        self.check_version(&control_file)?;
        Ok(UnfinishedDirectory { pgdata, backup, control_file })
    }

    fn check_version(&self, control_file: &ControlFile) -> anyhow::Result<()> {
        let (data, program) = (control_file.major(), self.program.major());
        anyhow::ensure!(
            data == program,
            "the timeline is of PostgreSQL {data}, but --pgbin is PostgreSQL {program}"
        );
        Ok(())
    }
}

impl UnfinishedDirectory {
    /// The version of the server this directory is for.
    pub fn major(&self) -> PgMajor {
        self.control_file.major()
    }

    /// Writes the configuration and, last of all, the control file.
    pub fn finish(
        self,
        config: &PostgresConfig,
        admin: &ConnectOptions,
        standby: bool,
    ) -> anyhow::Result<Pgdata> {
        let Self { pgdata, control_file, .. } = self;
        pgdata.write("postgresql.conf", config.text.as_bytes())?;
        let rules = pg_hba(&pgdata.read_text("pg_hba.conf")?, &admin.user);
        pgdata.write("pg_hba.conf", rules.as_bytes())?;
        if standby {
            pgdata.write(STANDBY_SIGNAL, b"")?;
        }
        pgdata.write(CONTROL_FILE, &control_file.to_bytes())?;
        pgdata.hand_over_all()?;
        Ok(pgdata)
    }
}
