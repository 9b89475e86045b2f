//! Streaming the WAL of a running database.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pq_proto::{HotStandbyFeedback, PgTimestamp};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use utils::Lsn;
use wal_quorum::INVALID_TERM;
use wal_quorum::proposer::{Election, Event, Mode, PageserverProgress};

use crate::postgres::connect_when_ready;
use crate::proposer::backpressure::acknowledgement_delay;
use crate::proposer::driver::{Driver, Milestone};
use crate::proposer::source::{AckState, SharedWindow, SourceError, WalSource, with_window};
use crate::proposer::window::WalWindow;
use crate::proposer::{ProposerError, StreamSetup, with_elections};

/// WAL kept in memory.
const WINDOW_BYTES: u64 = 64 << 20;
/// Pause before the replication session is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long the last messages may take to go out.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Carries WAL until the server ends its stream, which it does when a quorum has its last
/// checkpoint. An error means that the server must not go on.
pub async fn stream(setup: StreamSetup) -> Result<(), ProposerError> {
    let setup = &setup;
    with_elections(|| Streaming::run(setup)).await
}

struct Streaming<'a> {
    setup: &'a StreamSetup,
    driver: Driver,
    progress: PageserverProgress,
    /// Set by the election.
    source: Option<SourceTask>,
    /// The server has ended its stream.
    ended: bool,
}

/// The replication session, in its own task so that neither side holds the other up.
struct SourceTask {
    window: SharedWindow,
    /// Start of the window that the state machine knows.
    reported_start: Lsn,
    wal_end: watch::Receiver<Lsn>,
    task: AbortOnDropHandle<Result<(), SourceError>>,
}

/// What woke the loop up.
enum Wake {
    Proposer(Event),
    SourceEnded(Result<(), ProposerError>),
}

impl<'a> Streaming<'a> {
    async fn run(setup: &'a StreamSetup) -> Result<(), ProposerError> {
        let mode =
            Mode::Stream { redo_start_lsn: setup.start_lsn, last_elected_term: INVALID_TERM };
        let database = WalSource::connect_options(&setup.admin);
        let driver = Driver::new(mode, &setup.identity, &setup.safekeepers, Some(database))?;
        let progress = PageserverProgress::default();
        let mut streaming = Self { setup, driver, progress, source: None, ended: false };
        let mut event = Event::Tick;
        loop {
            let is_tick = event == Event::Tick;
            streaming.report_window()?;
            let milestones = streaming.driver.handle(event)?;
            let is_news = is_tick || !milestones.is_empty();
            milestones.into_iter().for_each(|milestone| streaming.note(milestone));
            if is_news {
                streaming.publish();
            }
            if streaming.is_complete() {
                let finish = streaming.driver.finish();
                // A safekeeper that does not read any more must not hold up the end.
                let _ = tokio::time::timeout(FINISH_TIMEOUT, finish).await;
                return Ok(());
            }
            event = match streaming.wait().await {
                Wake::Proposer(event) => event,
                Wake::SourceEnded(outcome) => {
                    outcome?;
                    streaming.ended = true;
                    Event::Tick
                }
            };
        }
    }

    /// Tells the state machine what is no longer in memory.
    fn report_window(&mut self) -> Result<(), ProposerError> {
        let Some(source) = &mut self.source else { return Ok(()) };
        let start_lsn = with_window(&source.window, |window| window.start());
        if start_lsn != source.reported_start {
            source.reported_start = start_lsn;
            // This only takes note; nothing can come of it but what is always due.
            let milestones = self.driver.handle(Event::LocalWindow { start_lsn })?;
            milestones.into_iter().for_each(|milestone| self.note(milestone));
        }
        Ok(())
    }

    /// Every branch is cancel safe: channels, a task handle and the driver's own waits.
    async fn wait(&mut self) -> Wake {
        let Some(source) = &mut self.source else {
            return Wake::Proposer(self.driver.next_event().await);
        };
        tokio::select! {
            event = self.driver.next_event() => Wake::Proposer(event),
            Ok(()) = source.wal_end.changed() => {
                let end_lsn = *source.wal_end.borrow_and_update();
                Wake::Proposer(Event::WalAvailable { end_lsn })
            }
            outcome = &mut source.task, if !self.ended => Wake::SourceEnded(match outcome {
                Ok(outcome) => outcome.map_err(ProposerError::from),
                Err(_) => Err(ProposerError::Aborted),
            }),
        }
    }

    fn note(&mut self, milestone: Milestone) {
        match milestone {
            Milestone::Elected(election) => self.begin_streaming(&election),
            Milestone::Committed(lsn) => {
                if let Some(source) = &self.source {
                    with_window(&source.window, |window| window.set_commit_lsn(lsn));
                }
                self.setup.acks.send_modify(|acks| acks.commit_lsn = lsn);
            }
            Milestone::PageserverProgress(progress) => self.progress = progress,
            Milestone::HotStandby(feedback) => {
                let feedback = HotStandbyFeedback {
                    timestamp: PgTimestamp(feedback.ts),
                    xmin: feedback.xmin,
                    catalog_xmin: feedback.catalog_xmin,
                };
                self.setup.acks.send_modify(|acks| acks.hot_standby = Some(feedback));
            }
            // Only a synchronisation reports this.
            Milestone::Synced(_) => {}
        }
    }

    fn begin_streaming(&mut self, election: &Election) {
        let start = election.epoch_start_lsn;
        tracing::info!("elected in term {}, streaming WAL from {start}", election.term);
        let window = Arc::new(Mutex::new(WalWindow::new(start, WINDOW_BYTES)));
        self.driver.set_window(window.clone());
        let (wal_end_sender, wal_end) = watch::channel(start);
        let session = keep_source_open(
            self.setup.admin.clone(),
            self.setup.identity.system_id,
            window.clone(),
            self.setup.acks.subscribe(),
            wal_end_sender,
        );
        let task = AbortOnDropHandle::new(tokio::spawn(session));
        self.source = Some(SourceTask { window, reported_start: start, wal_end, task });
    }

    /// After the server has ended its stream: everything is committed and told to everybody
    /// who is listening.
    fn is_complete(&self) -> bool {
        let Some(source) = self.source.as_ref().filter(|_| self.ended) else { return false };
        let wal_end = *source.wal_end.borrow();
        let commit_lsn = self.setup.acks.borrow().commit_lsn;
        commit_lsn >= wal_end && self.driver.everybody_heard_of(commit_lsn)
    }

    /// Updates the board, the delay of acknowledgements, and what is left of the window.
    fn publish(&mut self) {
        let status = self.driver.status();
        let wal_end = self.source.as_ref().map_or(Lsn::INVALID, |source| *source.wal_end.borrow());
        let limits = self.setup.lag_limits;
        // A server that is ending must not be held up.
        let delay = match self.ended {
            true => Duration::ZERO,
            false => acknowledgement_delay(limits, wal_end, &self.progress),
        };
        self.setup.acks.send_if_modified(|acks| {
            let changed = acks.delay != delay;
            acks.delay = delay;
            changed
        });
        let progress = self.progress;
        let active = status.safekeepers.iter().filter(|sk| sk.phase == "active").count();
        self.setup.board.add_wal_sent_bytes(self.driver.take_sent_bytes());
        self.setup.board.update_positions(|positions| {
            positions.term = status.term;
            positions.wal_end_lsn = wal_end;
            positions.commit_lsn = status.commit_lsn;
            positions.pageserver_received_lsn = progress.last_received_lsn;
            positions.pageserver_disk_consistent_lsn = progress.disk_consistent_lsn;
            positions.pageserver_remote_consistent_lsn = progress.remote_consistent_lsn;
            positions.backpressure_delay_ms = delay.as_millis() as u64;
            positions.active_safekeepers = active;
            positions.safekeepers = status.safekeepers.len();
        });
    }
}

/// Streams until the server ends the stream; a session that breaks is opened again where the
/// window ends, because the slot keeps WAL that is not committed.
async fn keep_source_open(
    admin: postgres_client::ConnectOptions,
    system_id: u64,
    window: SharedWindow,
    acks: watch::Receiver<AckState>,
    wal_end: watch::Sender<Lsn>,
) -> Result<(), SourceError> {
    let options = WalSource::connect_options(&admin);
    loop {
        let session = async {
            let client = connect_when_ready(&options).await.map_err(SourceError::from)?;
            let source = WalSource::prepare(client, system_id).await?;
            source.stream(window.clone(), acks.clone(), wal_end.clone()).await
        };
        match session.await {
            Err(SourceError::Session { action, source }) => {
                tracing::warn!("replication session with PostgreSQL: {action} failed: {source}");
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}
