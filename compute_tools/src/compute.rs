//! The life of an endpoint: build its directory, run its server, and end in order.

use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utils::Lsn;

use crate::boot::BootContext;
use crate::catalog;
use crate::cli::{Arguments, TOKEN_VARIABLE};
use crate::http::ConfigureRequest;
use crate::pgdata::Pgdata;
use crate::postgres::{PostgresProcess, PostgresProgram, connect_when_ready};
use crate::proposer::source::AckState;
use crate::proposer::{Identity, StreamSetup};
use crate::spec::{ComputeMode, ComputeSpec};
use crate::status::{ComputeStatus, StatusBoard};
use crate::{primary, proposer, replica};

/// How often the server's own state is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// How long the proposer may take to spread the last commit position after a clean stop.
const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How the outside reaches into a running endpoint.
#[derive(Debug)]
pub struct Controls {
    /// Changed specs.
    pub configure: mpsc::Receiver<ConfigureRequest>,
    /// Ends the endpoint.
    pub terminate: CancellationToken,
}

type Session = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// A started server and what works beside it.
struct Running {
    pgdata: Pgdata,
    process: PostgresProcess,
    /// Ends with success when the server has ended its WAL stream, with an error when the
    /// server must not go on. Never ends for an endpoint without a proposer.
    session: Session,
    /// Fires once clients may come.
    ready: oneshot::Receiver<anyhow::Result<()>>,
}

/// Runs the endpoint that `--spec-path` describes to its end.
pub async fn run(
    arguments: Arc<Arguments>,
    board: Arc<StatusBoard>,
    controls: Controls,
) -> anyhow::Result<()> {
    board.enter(ComputeStatus::Init);
    let mut context = prepare(arguments, board.clone()).await?;
    let terminate = controls.terminate.clone();
    // Building the directory leaves nothing behind that matters, so it may be dropped anywhere.
    let running = tokio::select! {
        running = start(&context) => running?,
        () = terminate.cancelled() => {
            board.enter(ComputeStatus::Terminated);
            return Ok(());
        }
    };
    let context = &mut context;
    Supervisor { context, running, controls, deadline: None, cut_short: false }.run().await?;
    board.enter(ComputeStatus::Terminated);
    Ok(())
}

async fn prepare(
    arguments: Arc<Arguments>,
    board: Arc<StatusBoard>,
) -> anyhow::Result<BootContext> {
    let path = &arguments.spec_path;
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let spec = ComputeSpec::from_json(&text).with_context(|| format!("{path}"))?;
    let token = std::env::var(TOKEN_VARIABLE).ok();
    let endpoint = spec.check(token).with_context(|| format!("{path}"))?;
    board.set_timeline(endpoint.ttid);
    let program = PostgresProgram::find(&arguments.pgbin).await?;
    let admin = arguments.admin()?;
    Ok(BootContext { endpoint, board, program, arguments, admin })
}

async fn start(context: &BootContext) -> anyhow::Result<Running> {
    match context.endpoint.mode {
        ComputeMode::Primary => start_primary(context).await,
        ComputeMode::Static(lsn) => {
            start_read_only(context, replica::build_static(context, lsn).await?)
        }
        ComputeMode::Replica => {
            start_read_only(context, replica::build_hot_standby(context).await?)
        }
    }
}

async fn start_primary(context: &BootContext) -> anyhow::Result<Running> {
    let directory = primary::build(context).await?;
    context.board.enter(ComputeStatus::Starting);
    let process = context.program.start(&directory.pgdata, &directory.config.pinned)?;
    let (acks, acks_seen) = watch::channel(AckState::default());
    let setup = StreamSetup {
        identity: Identity {
            ttid: context.endpoint.ttid,
            system_id: directory.system_id,
            pg_version_num: context.program.version_num(),
        },
        safekeepers: context.endpoint.safekeepers.clone(),
        start_lsn: directory.start_lsn,
        lag_limits: directory.config.lag_limits,
        admin: context.admin.clone(),
        board: context.board.clone(),
        acks,
    };
    let (sender, ready) = oneshot::channel();
    tokio::spawn(announce_ready(context.clone(), directory.start_lsn, acks_seen, sender));
    let session = Box::pin(async move { Ok(proposer::stream_on_own_thread(setup).await?) });
    Ok(Running { pgdata: directory.pgdata, process, session, ready })
}

fn start_read_only(context: &BootContext, pgdata: Pgdata) -> anyhow::Result<Running> {
    context.board.enter(ComputeStatus::Starting);
    let config = context.config()?;
    let process = context.program.start(&pgdata, &config.pinned)?;
    let (sender, ready) = oneshot::channel();
    let admin = context.admin.clone();
    tokio::spawn(async move {
        let outcome = connect_when_ready(&admin).await;
        // A receiver that is gone belongs to an endpoint that has ended.
        let _ = sender.send(outcome.map(drop).map_err(anyhow::Error::from));
    });
    let session = Box::pin(std::future::pending());
    Ok(Running { pgdata, process, session, ready })
}

/// A primary is open for clients when a quorum has its first record, the synthetic checkpoint:
/// only then is it sure to be the one writer. Roles and databases come after that, because
/// they have to be committed as well.
async fn announce_ready(
    context: BootContext,
    start_lsn: Lsn,
    mut acks: watch::Receiver<AckState>,
    ready: oneshot::Sender<anyhow::Result<()>>,
) {
    let prepare = async {
        acks.wait_for(|state| state.commit_lsn > start_lsn).await?;
        let mut client = connect_when_ready(&context.admin).await?;
        if !context.endpoint.skip_pg_catalog_updates {
            catalog::apply(&mut client, &context.endpoint.cluster).await?;
        }
        Ok(())
    };
    // A receiver that is gone belongs to an endpoint that has ended.
    let _ = ready.send(prepare.await);
}

/// Watches a running endpoint.
struct Supervisor<'a> {
    context: &'a mut BootContext,
    running: Running,
    controls: Controls,
    /// When a shutdown under way is cut short.
    deadline: Option<Instant>,
    /// The deadline passed and the server was stopped hard.
    cut_short: bool,
}

impl Supervisor<'_> {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut ready_seen = false;
        let mut session_ended = false;
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        loop {
            // All branches are cancel safe: waits, channels, and a session that is kept.
            tokio::select! {
                status = self.running.process.wait() => {
                    return self.after_exit(status?, session_ended).await;
                }
                outcome = &mut self.running.session, if !session_ended => {
                    if let Err(error) = outcome {
                        // Nothing that PostgreSQL does from here on may be acknowledged.
                        self.running.process.quit().await;
                        return Err(error);
                    }
                    session_ended = true;
                }
                outcome = &mut self.running.ready, if !ready_seen => {
                    ready_seen = true;
                    if let Err(error) = outcome.unwrap_or(Ok(())) {
                        self.running.process.quit().await;
                        return Err(error.context("preparing PostgreSQL for clients"));
                    }
                    self.context.board.enter(ComputeStatus::Running);
                }
                () = self.controls.terminate.cancelled(), if self.deadline.is_none() => {
                    self.running.process.request_fast_shutdown();
                    self.begin_shutdown();
                }
                Some(request) = self.controls.configure.recv() => self.configure(request),
                _ = watch.tick() => self.watch_shutdown().await,
            }
        }
    }

    fn begin_shutdown(&mut self) {
        let seconds = self.context.arguments.shutdown_timeout_seconds;
        self.deadline = Some(Instant::now() + Duration::from_secs(seconds));
        self.context.board.enter(ComputeStatus::TerminationPending);
    }

    /// Notices a shutdown that somebody else asked for, and ends one that takes too long:
    /// without a quorum the last checkpoint is never acknowledged.
    async fn watch_shutdown(&mut self) {
        match self.deadline {
            None if self.running.pgdata.server_is_stopping() => self.begin_shutdown(),
            Some(deadline) if Instant::now() >= deadline => {
                self.cut_short = true;
                self.running.process.quit().await;
            }
            None | Some(_) => {}
        }
    }

    async fn after_exit(&mut self, status: ExitStatus, session_ended: bool) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.cut_short,
            "PostgreSQL did not stop within {} s and was stopped hard, probably because no quorum \
             of safekeepers acknowledged its last WAL; nothing that was acknowledged to clients \
             is lost",
            self.context.arguments.shutdown_timeout_seconds
        );
        if !status.success() {
            let stopping = self.deadline.is_some();
            let hint = if stopping { "during its shutdown" } else { "its log says why" };
            anyhow::bail!("PostgreSQL ended with {status}; {hint}");
        }
        tracing::info!("PostgreSQL was stopped");
        if self.context.endpoint.mode == ComputeMode::Primary && !session_ended {
            let session = &mut self.running.session;
            match tokio::time::timeout(LAST_COMMIT_TIMEOUT, session).await {
                Ok(outcome) => outcome?,
                Err(_) => tracing::warn!(
                    "not every safekeeper confirmed the end within {LAST_COMMIT_TIMEOUT:?}"
                ),
            }
        }
        Ok(())
    }

    fn configure(&mut self, request: ConfigureRequest) {
        let ConfigureRequest { endpoint, reply } = request;
        self.context.board.enter(ComputeStatus::Configuration);
        let outcome = self.reconfigure(endpoint);
        self.context.board.enter(ComputeStatus::Running);
        // A client that went away does not need the answer.
        let _ = reply.send(outcome);
    }

    /// Takes up a changed spec. The pageserver matters at the next start only; settings are
    /// written and reloaded; what needs a new data directory is refused.
    fn reconfigure(&mut self, endpoint: crate::spec::Endpoint) -> anyhow::Result<()> {
        let current = &self.context.endpoint;
        anyhow::ensure!(
            endpoint.ttid == current.ttid && endpoint.mode == current.mode,
            "timeline and mode of a running endpoint cannot change; stop it and start another"
        );
        let addresses = |endpoint: &crate::spec::Endpoint| {
            endpoint.safekeepers.iter().map(|sk| sk.address()).collect::<Vec<_>>()
        };
        anyhow::ensure!(
            endpoint.mode != ComputeMode::Primary || addresses(&endpoint) == addresses(current),
            "the safekeepers of a running primary cannot change; restart the endpoint"
        );
        let changed = BootContext { endpoint, ..self.context.clone() };
        let config = changed.config()?;
        self.running.pgdata.write("postgresql.conf", config.text.as_bytes())?;
        self.running.process.reload();
        *self.context = changed;
        Ok(())
    }
}
