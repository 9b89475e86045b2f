//! What compute_ctl asks the page service.

use std::time::Duration;

use postgres_client::{Client, ConnectOptions, CopyOut, Error, Row};
use utils::lsn::LsnParseError;
use utils::{Lsn, TenantTimelineId};

/// Wait between two looks at how far the pageserver has come.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// A line in the log this often while waiting.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Attempts to get an answer, while the pageserver restarts or a tenant is being attached.
const MAX_ATTEMPTS: u32 = 10;
/// Attempts when the pageserver does answer, but with an error.
const MAX_REFUSALS: u32 = 3;
/// First wait between attempts; each following one is half as long again.
const FIRST_RETRY_WAIT: Duration = Duration::from_millis(500);

/// The pageserver did not answer as needed.
#[derive(Debug, thiserror::Error)]
pub enum PageserverError {
    /// The command failed.
    #[error("pageserver {address}: `{command}` failed: {source}")]
    Command {
        /// The pageserver.
        address: String,
        /// What was asked.
        command: String,
        /// Its answer.
        source: Error,
    },
    /// The answer is not what the command promises.
    #[error(
        "pageserver {address}: `{command}` answered without a usable column {column}: {reason}"
    )]
    Answer {
        /// The pageserver.
        address: String,
        /// What was asked.
        command: String,
        /// Column that is wrong.
        column: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The pageserver knows more WAL than the safekeepers agreed on.
    #[error(
        "pageserver {address} is at {last_record}, above {agreed} which the safekeepers just \
         agreed on: another primary is writing to this timeline, or the safekeepers lost WAL"
    )]
    Ahead {
        /// The pageserver.
        address: String,
        /// Its position.
        last_record: Lsn,
        /// The safekeepers' position.
        agreed: Lsn,
    },
}

/// The end of what a pageserver has ingested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// End of the last record.
    pub last_lsn: Lsn,
    /// End of the record before it, so where the last one starts but for a page header.
    pub prev_lsn: Lsn,
}

/// The last checkpoint a pageserver has ingested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCheckpoint {
    /// Where redo from it starts.
    pub redo_lsn: Lsn,
    /// End of the last record of the timeline.
    pub last_lsn: Lsn,
}

/// The page service of one timeline.
#[derive(Clone, Debug)]
pub struct Pageserver {
    options: ConnectOptions,
    ttid: TenantTimelineId,
}

impl Pageserver {
    /// Nothing is connected yet; every question opens its own session.
    pub fn new(options: ConnectOptions, ttid: TenantTimelineId) -> Self {
        Self { options, ttid }
    }

    /// Where the timeline ends.
    pub async fn last_record(&self) -> Result<LastRecord, PageserverError> {
        let command = self.command("get_last_record_rlsn");
        self.retry(|| async { self.last_record_of(&mut None, &command).await }).await
    }

    /// As [`Self::last_record`], once, on a session that is kept while it works.
    async fn last_record_of(
        &self,
        session: &mut Option<Client>,
        command: &str,
    ) -> Result<LastRecord, PageserverError> {
        let mut client = match session.take() {
            Some(client) => client,
            None => self.connect(command).await?,
        };
        let row = self.ask(&mut client, command).await?;
        *session = Some(client);
        Ok(LastRecord {
            last_lsn: self.lsn(command, &row, "last_lsn")?,
            prev_lsn: self.lsn(command, &row, "prev_lsn")?,
        })
    }

    /// Where the last checkpoint is.
    pub async fn last_checkpoint(&self) -> Result<LastCheckpoint, PageserverError> {
        let command = self.command("get_checkpoint");
        let command = command.as_str();
        self.retry(|| async move {
            let row = self.ask(&mut self.connect(command).await?, command).await?;
            Ok(LastCheckpoint {
                redo_lsn: self.lsn(command, &row, "redo")?,
                last_lsn: self.lsn(command, &row, "last_lsn")?,
            })
        })
        .await
    }

    /// Waits until the pageserver has ingested everything up to `agreed`. A pageserver that is
    /// not there yet or restarting is waited for as well. The pageserver is told what is waited
    /// for: it looks for the WAL of an idle timeline only if somebody needs it.
    pub async fn wait_for(&self, agreed: Lsn) -> Result<LastRecord, PageserverError> {
        let command = format!("{} {agreed}", self.command("get_last_record_rlsn"));
        let mut last_report = tokio::time::Instant::now();
        let mut session = None;
        let mut refusals = 0;
        loop {
            let outcome = self.last_record_of(&mut session, &command).await;
            let waiting_for = match outcome {
                Ok(last) if last.last_lsn == agreed => return Ok(last),
                Ok(last) if last.last_lsn > agreed => {
                    let address = self.options.address();
                    return Err(PageserverError::Ahead {
                        address,
                        last_record: last.last_lsn,
                        agreed,
                    });
                }
                Ok(last) => format!("it is at {}", last.last_lsn),
                Err(error) if error.is_transient() => error.to_string(),
                Err(error) if refusals < MAX_ATTEMPTS => {
                    refusals += 1;
                    tokio::time::sleep(FIRST_RETRY_WAIT).await;
                    error.to_string()
                }
                Err(error) => return Err(error),
            };
            if last_report.elapsed() >= REPORT_INTERVAL {
                last_report = tokio::time::Instant::now();
                tracing::info!(
                    "waiting for pageserver {} to reach {agreed}: {waiting_for}",
                    self.options.address()
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Keeps what is needed to read pages at `lsn` from being garbage collected for a while.
    pub async fn lease(&self, lsn: Lsn) -> Result<(), PageserverError> {
        let command = format!("{} {lsn}", self.command("lease lsn"));
        let mut client = self.connect(&command).await?;
        client.simple_query(&command).await.map_err(|source| self.failed(&command, source))?;
        Ok(())
    }

    /// The bootable backup at `lsn`; `prev` may be invalid, which means unknown.
    pub async fn fullbackup(&self, lsn: Lsn, prev: Lsn) -> Result<CopyOut, PageserverError> {
        let command = format!("{} {lsn} {prev}", self.command("fullbackup"));
        let command = command.as_str();
        self.retry(|| async move {
            let client = self.connect(command).await?;
            client.copy_out(command).await.map_err(|source| self.failed(command, source))
        })
        .await
    }

    /// Asks again after failures that may pass.
    async fn retry<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, PageserverError>
    where
        F: Future<Output = Result<T, PageserverError>>,
    {
        let mut wait = FIRST_RETRY_WAIT;
        let mut number = 0;
        loop {
            number += 1;
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let limit = if error.is_transient() { MAX_ATTEMPTS } else { MAX_REFUSALS };
            if number >= limit {
                return Err(error);
            }
            tracing::warn!("{error}; asking again in {wait:?}");
            tokio::time::sleep(wait).await;
            wait = wait.mul_f64(1.5);
        }
    }

    fn command(&self, verb: &str) -> String {
        format!("{verb} {} {}", self.ttid.tenant_id, self.ttid.timeline_id)
    }

    async fn connect(&self, command: &str) -> Result<Client, PageserverError> {
        self.options.connect().await.map_err(|source| self.failed(command, source))
    }

    async fn ask(&self, client: &mut Client, command: &str) -> Result<Row, PageserverError> {
        let rows = client.simple_query(command).await;
        let rows = rows.map_err(|source| self.failed(command, source))?;
        rows.into_iter().next().ok_or_else(|| PageserverError::Answer {
            address: self.options.address(),
            command: command.to_owned(),
            column: "at all",
            reason: "there is no row".to_owned(),
        })
    }

    fn lsn(&self, command: &str, row: &Row, column: &'static str) -> Result<Lsn, PageserverError> {
        let text = row.by_name(column).unwrap_or_default();
        text.parse().map_err(|error: LsnParseError| PageserverError::Answer {
            address: self.options.address(),
            command: command.to_owned(),
            column,
            reason: error.to_string(),
        })
    }

    fn failed(&self, command: &str, source: Error) -> PageserverError {
        let address = self.options.address();
        PageserverError::Command { address, command: command.to_owned(), source }
    }
}

impl PageserverError {
    /// Whether the same question may be answered later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Command { source, .. } => source.is_transient(),
            Self::Answer { .. } | Self::Ahead { .. } => false,
        }
    }
}
