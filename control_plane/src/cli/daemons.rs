//! Starting and stopping daemons, one or all.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use utils::NodeId;

use super::{StartTimeout, StopArgs};
use crate::attachments;
use crate::config::{LocalEnv, PageserverConf, SafekeeperConf};
use crate::endpoint::{Endpoint, EndpointStatus, PgStopMode};
use crate::process::StopMode;
use crate::{broker, pageserver, safekeeper};

#[derive(Args)]
pub(super) struct PageserverArgs {
    /// Node id
    #[arg(long, global = true, default_value = "1")]
    id: NodeId,
    #[command(subcommand)]
    command: PageserverCommand,
}

#[derive(Subcommand)]
enum PageserverCommand {
    /// Start it, and attach those of its tenants that it does not have
    Start(StartTimeout),
    /// Stop it
    Stop(StopArgs),
    /// Stop and start it
    Restart(StartTimeout),
    /// Ask whether it serves
    Status,
}

#[derive(Subcommand)]
pub(super) enum SafekeeperCommand {
    /// Start it
    Start(SafekeeperStartArgs),
    /// Stop it
    Stop {
        /// Node id
        #[arg(default_value = "1")]
        id: NodeId,
        #[command(flatten)]
        stop: StopArgs,
    },
    /// Stop and start it
    Restart {
        #[command(flatten)]
        start: SafekeeperStartArgs,
        #[command(flatten)]
        stop: StopArgs,
    },
    /// Ask whether it runs
    Status {
        /// Node id
        #[arg(default_value = "1")]
        id: NodeId,
    },
}

#[derive(Args)]
pub(super) struct SafekeeperStartArgs {
    /// Node id
    #[arg(default_value = "1")]
    id: NodeId,
    /// Option passed on to the daemon; may be repeated
    #[arg(
        short = 'e',
        long = "safekeeper-extra-opt",
        value_name = "OPTION",
        allow_hyphen_values = true
    )]
    extra_options: Vec<String>,
    #[command(flatten)]
    timeout: StartTimeout,
}

#[derive(Subcommand)]
pub(super) enum BrokerCommand {
    /// Start it
    Start(StartTimeout),
    /// Stop it
    Stop(StopArgs),
    /// Stop and start it
    Restart(StartTimeout),
    /// Ask whether it runs
    Status,
}

/// Starts everything but endpoints; stops what runs when something fails.
pub(super) async fn start_all(env: &LocalEnv, timeout: Duration) -> anyhow::Result<ExitCode> {
    broker::start(env, timeout).await.context("storage_broker start failed")?;
    for conf in &env.pageservers {
        let result = start_pageserver(env, conf, timeout).await;
        if report(&format!("pageserver {} start failed", conf.id), result) != ExitCode::SUCCESS {
            stop_all(env, StopMode::Immediate).await;
            return Ok(ExitCode::FAILURE);
        }
    }
    for conf in &env.config.safekeepers {
        let result = safekeeper::start(env, conf, &[], timeout).await;
        if report(&format!("safekeeper {} start failed", conf.id), result) != ExitCode::SUCCESS {
            stop_all(env, StopMode::Fast).await;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops everything; a failure is reported and the rest goes on.
pub(super) async fn stop_all(env: &LocalEnv, mode: StopMode) {
    match Endpoint::list(env) {
        Ok(endpoints) => {
            for endpoint in endpoints {
                stop_endpoint_if_running(env, &endpoint, mode).await;
            }
        }
        Err(error) => eprintln!("endpoints stop failed: {error}"),
    }
    for conf in &env.pageservers {
        let result = pageserver::stop(env, conf, mode).await;
        report(&format!("pageserver {} stop failed", conf.id), result);
    }
    for conf in &env.config.safekeepers {
        let result = safekeeper::stop(env, conf, mode).await;
        report(&format!("safekeeper {} stop failed", conf.id), result);
    }
    report("storage_broker stop failed", broker::stop(env).await);
}

async fn stop_endpoint_if_running(env: &LocalEnv, endpoint: &Endpoint, mode: StopMode) {
    if endpoint.status() == EndpointStatus::Stopped && endpoint.compute_ctl_pid().is_none() {
        return;
    }
    println!("Stopping endpoint {}", endpoint.conf.endpoint_id);
    let result = endpoint.stop(env, PgStopMode::from(mode), false).await;
    report(&format!("endpoint {} stop failed", endpoint.conf.endpoint_id), result);
}

/// Prints a failure to stderr. Returns whether it was a success.
fn report<E: Into<anyhow::Error>>(what: &str, result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{what}: {}", super::describe(&error.into()));
            ExitCode::FAILURE
        }
    }
}

pub(super) async fn pageserver(env: &LocalEnv, args: PageserverArgs) -> anyhow::Result<ExitCode> {
    let conf = pageserver::find(env, args.id)?;
    let start = async |timeout| {
        report("pageserver start failed", start_pageserver(env, conf, timeout).await)
    };
    let stop =
        async |mode| report("pageserver stop failed", pageserver::stop(env, conf, mode).await);
    Ok(match args.command {
        PageserverCommand::Start(timeout) => start(timeout.start_timeout).await,
        PageserverCommand::Stop(args) => stop(args.mode).await,
        PageserverCommand::Restart(timeout) => match stop(StopMode::Fast).await {
            ExitCode::SUCCESS => start(timeout.start_timeout).await,
            code => code,
        },
        PageserverCommand::Status => match pageserver::client(env, conf)?.status().await {
            Ok(_) => {
                println!("Page server is up and running");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("Page server is not available: {error}");
                ExitCode::FAILURE
            }
        },
    })
}

async fn start_pageserver(
    env: &LocalEnv,
    conf: &PageserverConf,
    timeout: Duration,
) -> anyhow::Result<()> {
    pageserver::start(env, conf, timeout).await?;
    // A control plane does this at the pageserver's own request.
    if conf.control_plane_api.as_deref().is_none_or(str::is_empty) {
        let attached = attachments::reattach(env, conf).await?;
        if attached > 0 {
            println!("pageserver {} got {attached} tenants attached", conf.id);
        }
    }
    Ok(())
}

pub(super) async fn safekeeper(
    env: &LocalEnv,
    command: SafekeeperCommand,
) -> anyhow::Result<ExitCode> {
    let start = async |conf: &SafekeeperConf, args: &SafekeeperStartArgs| {
        let timeout = args.timeout.start_timeout;
        let result = safekeeper::start(env, conf, &args.extra_options, timeout).await;
        report("safekeeper start failed", result)
    };
    let stop = async |conf: &SafekeeperConf, mode| {
        report("safekeeper stop failed", safekeeper::stop(env, conf, mode).await)
    };
    Ok(match command {
        SafekeeperCommand::Start(args) => start(safekeeper::find(env, args.id)?, &args).await,
        SafekeeperCommand::Stop { id, stop: args } => {
            stop(safekeeper::find(env, id)?, args.mode).await
        }
        SafekeeperCommand::Restart { start: start_args, stop: stop_args } => {
            let conf = safekeeper::find(env, start_args.id)?;
            match stop(conf, stop_args.mode).await {
                ExitCode::SUCCESS => start(conf, &start_args).await,
                code => code,
            }
        }
        SafekeeperCommand::Status { id } => {
            let conf = safekeeper::find(env, id)?;
            tell_running(&format!("safekeeper-{id}"), &safekeeper::pid_file(env, conf))?
        }
    })
}

pub(super) async fn broker(env: &LocalEnv, command: BrokerCommand) -> anyhow::Result<ExitCode> {
    let start =
        async |timeout| report("storage_broker start failed", broker::start(env, timeout).await);
    let stop = async || report("storage_broker stop failed", broker::stop(env).await);
    Ok(match command {
        BrokerCommand::Start(timeout) => start(timeout.start_timeout).await,
        // It has nothing to lose: both modes are the same.
        BrokerCommand::Stop(_) => stop().await,
        BrokerCommand::Restart(timeout) => match stop().await {
            ExitCode::SUCCESS => start(timeout.start_timeout).await,
            code => code,
        },
        BrokerCommand::Status => tell_running("storage_broker", &broker::pid_file(env))?,
    })
}

fn tell_running(name: &str, pid_file: &camino::Utf8Path) -> anyhow::Result<ExitCode> {
    use utils::pid_file::{PidFileState, read};
    match read(pid_file.as_std_path())? {
        PidFileState::Locked(pid) => {
            println!("{name} is running, pid: {pid}");
            Ok(ExitCode::SUCCESS)
        }
        PidFileState::Absent | PidFileState::Stale => {
            eprintln!("{name} is not running");
            Ok(ExitCode::FAILURE)
        }
    }
}
