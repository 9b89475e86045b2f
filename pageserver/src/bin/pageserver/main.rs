//! The pageserver daemon: from the command line to a running process, and back.
//!
//! Wiring only: what the services do is in the library.

mod command_line;
mod services;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use chrono::Utc;
use clap::Parser;
use pageserver::config::{CONFIG_FILE_NAME, PageServerConf};
use pageserver::tasks::{RuntimeKind, Runtimes};
use tracing::{info, warn};
use utils::signals::ShutdownSignal;
use utils::{failpoints, logging, pid_file, signals};

use command_line::CommandLine;
use services::{Launch, Listeners, Services};

/// Name of the pid file in the working directory.
const PID_FILE_NAME: &str = "pageserver.pid";
/// Exit status after SIGQUIT.
const IMMEDIATE_EXIT_STATUS: i32 = 111;

fn main() -> ExitCode {
    let arguments = CommandLine::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            for cause in failure.chain().skip(1) {
                eprintln!("Caused by: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &CommandLine) -> anyhow::Result<()> {
    if arguments.print_and_exit() {
        return Ok(());
    }
    let workdir = enter_workdir(&arguments.workdir)?;
    let config_path = workdir.join(CONFIG_FILE_NAME);
    if arguments.init {
        return command_line::write_initial_config(&config_path, &arguments.overrides, &workdir);
    }
    let document = command_line::read_config(&config_path)?;
    let conf = PageServerConf::parse(&document, &arguments.overrides, &workdir)
        .context("Failed to parse pageserver configuration")?;
    start(Box::leak(Box::new(conf))).context("Failed to start pageserver")
}

/// Makes the working directory the current one. Relative paths in the configuration start there.
fn enter_workdir(path: &Utf8Path) -> anyhow::Result<Utf8PathBuf> {
    let workdir =
        path.canonicalize_utf8().with_context(|| format!("Error opening workdir '{path}'"))?;
    std::env::set_current_dir(&workdir)
        .with_context(|| format!("Failed to set current directory to '{workdir}'"))?;
    Ok(workdir)
}

/// Runs the daemon until a signal ends it.
fn start(conf: &'static PageServerConf) -> anyhow::Result<()> {
    let started = Instant::now();
    logging::init(conf.telemetry.log_format).context("setting up logging")?;
    logging::install_panic_hook();
    failpoints::init_from_env().context("configuring failpoints")?;
    let launch_timestamp = Utc::now().to_string();
    info!(
        "version: {} launch_timestamp: {launch_timestamp} build_tag: {}",
        build_info::GIT_VERSION,
        build_info::BUILD_TAG
    );
    metrics::init(build_info::GIT_VERSION, build_info::BUILD_TAG)?;
    for key in &conf.without_effect {
        warn!("option '{key}' has no effect in this version");
    }
    let tenants = conf.tenants_path();
    std::fs::create_dir_all(&tenants).with_context(|| format!("cannot create {tenants}"))?;
    let pid_path = conf.workdir.join(PID_FILE_NAME);
    // Held, and with it the lock, until the process ends.
    let _pid_file = pid_file::claim(pid_path.as_std_path()).context("claim pid file")?;
    info!("Claimed pid file at {pid_path}");
    // Ports come before anything that touches state: a clash must not leave traces.
    let listeners = Listeners::bind(conf)?;
    let runtimes = Arc::new(Runtimes::from_env()?);
    let background = runtimes.handle(RuntimeKind::Background).clone();
    let launch = Launch { started, timestamp: launch_timestamp };
    background.block_on(serve(conf, listeners, &runtimes, launch))
}

async fn serve(
    conf: &'static PageServerConf,
    listeners: Listeners,
    runtimes: &Runtimes,
    launch: Launch,
) -> anyhow::Result<()> {
    // Waiting begins now, so that a signal during start is not the end without order.
    let mut signal = tokio::spawn(signals::wait_for_shutdown_signal());
    let start = Services::start(conf, listeners, runtimes, launch);
    // A start that is abandoned leaves what a crash would leave; it may wait for a control plane
    // that does not answer.
    let services = tokio::select! {
        services = start => services?,
        signal = &mut signal => {
            let signal = signal.context("waiting for a signal")??;
            info!("Got signal {signal}. Terminating during start");
            return Ok(());
        }
    };
    match signal.await.context("waiting for a signal")?? {
        ShutdownSignal::Quit => {
            info!("Got signal SIGQUIT. Terminating in immediate shutdown mode");
            std::process::exit(IMMEDIATE_EXIT_STATUS);
        }
        signal @ (ShutdownSignal::Interrupt | ShutdownSignal::Terminate) => {
            info!("Got signal {signal}. Terminating gracefully in fast shutdown mode");
        }
    }
    // A second, harsher signal must still be obeyed.
    let shutdown = services.shutdown();
    tokio::pin!(shutdown);
    loop {
        // The shutdown is polled in place; a signal that was not received stays pending.
        tokio::select! {
            () = &mut shutdown => break,
            signal = signals::wait_for_shutdown_signal() => {
                if matches!(signal, Ok(ShutdownSignal::Quit)) {
                    info!("Got signal SIGQUIT. Terminating in immediate shutdown mode");
                    std::process::exit(IMMEDIATE_EXIT_STATUS);
                }
            }
        }
    }
    info!("Shut down successfully completed");
    Ok(())
}
