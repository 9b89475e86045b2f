//! The endpoint that writes: from the safekeepers' agreement to a directory at its position.

use anyhow::Context;
use utils::Lsn;

use crate::boot::BootContext;
use crate::config::PostgresConfig;
use crate::pgdata::Pgdata;
use crate::proposer::{self, Identity};
use crate::safekeeper::agreed_end_without_election;
use crate::status::ComputeStatus;
use crate::wal_fill::fill_first_segment;

/// A directory that is ready to be started as a primary.
#[derive(Debug)]
pub struct PrimaryDirectory {
    /// Where it is.
    pub pgdata: Pgdata,
    /// X: the position it was built at, and from which WAL goes on.
    pub start_lsn: Lsn,
    /// The cluster's number.
    pub system_id: u64,
    /// Its configuration.
    pub config: PostgresConfig,
}

/// The end of the timeline, and where its last record starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AgreedEnd {
    lsn: Lsn,
    prev_lsn: Lsn,
    /// The safekeepers have the WAL before it.
    written_before: bool,
}

/// Agrees with the safekeepers on the end of WAL and builds the directory there.
pub async fn build(context: &BootContext) -> anyhow::Result<PrimaryDirectory> {
    let config = context.config()?;
    context.board.enter(ComputeStatus::Syncing);
    let end = agree_on_end(context).await?;
    tracing::info!("the timeline ends at {}, its last record starts at {}", end.lsn, end.prev_lsn);
    let directory = context.receive_backup(end.lsn, end.prev_lsn).await?;
    let pgdata = directory.pgdata.path();
    if end.written_before {
        let safekeepers = &context.endpoint.safekeepers;
        fill_first_segment(safekeepers, pgdata, end.lsn, directory.major()).await;
    }
    let system_id = directory.control_file.system_identifier();
    let pgdata = directory.finish(&config, &context.admin, false)?;
    Ok(PrimaryDirectory { pgdata, start_lsn: end.lsn, system_id, config })
}

async fn agree_on_end(context: &BootContext) -> anyhow::Result<AgreedEnd> {
    let safekeepers = &context.endpoint.safekeepers;
    let agreed = match agreed_end_without_election(safekeepers).await {
        Some(lsn) => {
            tracing::info!("a quorum of safekeepers agrees on {lsn} without an election");
            lsn
        }
        None => {
            let identity = Identity {
                ttid: context.endpoint.ttid,
                system_id: 0,
                pg_version_num: context.program.version_num(),
            };
            proposer::sync(identity, safekeepers).await.context("synchronising safekeepers")?
        }
    };
    let pageserver = context.pageserver();
    let last = if agreed.is_valid() {
        pageserver.wait_for(agreed).await?
    } else {
        // Nothing was ever written through the safekeepers: a fresh timeline or branch.
        pageserver.last_record().await?
    };
    let written_before = agreed.is_valid();
    Ok(AgreedEnd { lsn: last.last_lsn, prev_lsn: last.prev_lsn, written_before })
}
