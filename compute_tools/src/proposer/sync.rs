//! Agreeing with the safekeepers on the end of WAL, without a database.

use std::time::Duration;

use postgres_client::ConnectOptions;
use utils::Lsn;
use wal_quorum::proposer::{Event, Mode};

use crate::proposer::driver::{Driver, Milestone};
use crate::proposer::{Identity, ProposerError, with_elections};

/// How long the last messages may take to go out.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);
/// A line in the log this often while waiting for a quorum.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The end of the timeline's WAL, committed on all safekeepers that can be reached;
/// invalid when nothing was ever written. Waits for a quorum for as long as it takes.
pub async fn sync(
    identity: Identity,
    safekeepers: &[ConnectOptions],
) -> Result<Lsn, ProposerError> {
    with_elections(|| sync_once(&identity, safekeepers)).await
}

async fn sync_once(
    identity: &Identity,
    safekeepers: &[ConnectOptions],
) -> Result<Lsn, ProposerError> {
    let mut driver = Driver::new(Mode::Sync, identity, safekeepers, None)?;
    let mut report = tokio::time::interval(REPORT_INTERVAL);
    report.reset();
    let mut event = Event::Tick;
    loop {
        for milestone in driver.handle(event)? {
            match milestone {
                Milestone::Elected(election) => tracing::info!(
                    "elected in term {} to synchronise up to {}",
                    election.term,
                    election.epoch_start_lsn
                ),
                Milestone::Synced(lsn) => {
                    // What is left to say only saves the next proposer work.
                    let _ = tokio::time::timeout(FINISH_TIMEOUT, driver.finish()).await;
                    return Ok(lsn);
                }
                Milestone::Committed(_)
                | Milestone::PageserverProgress(_)
                | Milestone::HotStandby(_) => {}
            }
        }
        event = loop {
            tokio::select! {
                event = driver.next_event() => break event,
                _ = report.tick() => report_waiting(&driver),
            }
        };
    }
}

/// Says which safekeepers are missing, for whoever wonders why nothing happens.
fn report_waiting(driver: &Driver) {
    let status = driver.status();
    let peers = status.safekeepers.iter().enumerate();
    let phases: Vec<_> = peers
        .map(|(index, safekeeper)| format!("{} {}", driver.address(index), safekeeper.phase))
        .collect();
    tracing::info!("waiting for a quorum of safekeepers: {}", phases.join(", "));
}
