//! `compute_ctl`: one PostgreSQL endpoint on the storage. Wiring only: command line, status
//! API, signals, and the endpoint's life in between.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use compute_tools::cli::Arguments;
use compute_tools::compute::{self, Controls};
use compute_tools::http::{HttpState, router};
use compute_tools::status::{ComputeStatus, StatusBoard};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A launcher can read the reason of a failed start from the status API for this long.
const FAILURE_VISIBLE: Duration = Duration::from_secs(30);
/// One change of the spec at a time; others wait in their HTTP requests.
const CONFIGURE_QUEUE: usize = 1;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = utils::logging::init(utils::logging::LogFormat::Plain) {
        eprintln!("cannot start logging: {error}");
        return ExitCode::FAILURE;
    }
    utils::logging::install_panic_hook();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    metrics::init(build_info::GIT_VERSION, build_info::BUILD_TAG)?;
    let board = Arc::new(StatusBoard::default());
    let terminate = CancellationToken::new();
    let (configure, configure_requests) = mpsc::channel(CONFIGURE_QUEUE);

    let address = format!("127.0.0.1:{}", arguments.http_port);
    let listener = tokio::net::TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address} for the status API"))?;
    let state = HttpState { board: board.clone(), configure, terminate: terminate.clone() };
    let end_http = CancellationToken::new();
    let http = tokio::spawn(http_server::serve(listener, router(state), end_http.clone()));

    let signalled = tokio::spawn(terminate_on_signal(terminate.clone()));
    let controls = Controls { configure: configure_requests, terminate: terminate.clone() };
    let outcome = compute::run(Arc::new(arguments), board.clone(), controls).await;
    if let Err(error) = &outcome {
        let was_starting = !has_run(&board);
        board.fail(error);
        if was_starting {
            tracing::error!("the endpoint could not be started: {error:#}");
            let visible = tokio::time::sleep(FAILURE_VISIBLE);
            tokio::select! { () = visible => {}, () = terminate.cancelled() => {} }
        }
    }
    end_http.cancel();
    if let Err(error) = http.await? {
        tracing::warn!("status API: {error}");
    }
    signalled.abort();
    outcome
}

fn has_run(board: &StatusBoard) -> bool {
    !matches!(
        board.status(),
        ComputeStatus::Empty
            | ComputeStatus::Init
            | ComputeStatus::Syncing
            | ComputeStatus::Basebackup
            | ComputeStatus::Starting
    )
}

async fn terminate_on_signal(terminate: CancellationToken) {
    match utils::signals::wait_for_shutdown_signal().await {
        Ok(signal) => tracing::info!("received {signal:?}, stopping"),
        Err(error) => {
            tracing::error!("cannot watch for signals: {error}");
            return;
        }
    }
    terminate.cancel();
}
