//! The command line: what each command does with a repo, and what it prints.
//!
//! Option names and output lines are contracts. A command that fails leaves the
//! configuration file as it was.

mod daemons;
mod endpoint;
mod init;
mod status;
mod tenant;
mod timeline;
mod timeline_import;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use comfy_table::{Table, presets};
use postgres_ffi::PgMajor;
use utils::{TenantId, TimelineId};

use crate::config::LocalEnv;

/// A private installation in one directory: NEON_REPO_DIR, or .neon in the current one.
#[derive(Parser)]
#[command(name = "neon_local", version = build_info::GIT_VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new repo
    Init(init::InitArgs),
    /// Start all daemons
    Start(StartTimeout),
    /// Stop all endpoints and daemons
    Stop(StopArgs),
    /// Show what runs
    Status,
    /// Manage tenants
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Manage timelines (branches)
    #[command(subcommand)]
    Timeline(timeline::TimelineCommand),
    /// Manage pageservers
    Pageserver(daemons::PageserverArgs),
    /// Manage safekeepers
    #[command(subcommand)]
    Safekeeper(daemons::SafekeeperCommand),
    /// Manage the storage broker
    #[command(subcommand, name = "storage_broker")]
    StorageBroker(daemons::BrokerCommand),
    /// Manage endpoints (PostgreSQL)
    #[command(subcommand)]
    Endpoint(endpoint::EndpointCommand),
    /// Manage names of branches
    #[command(subcommand)]
    Mappings(MappingsCommand),
    #[command(hide = true)]
    Pg(PgArgs),
}

#[derive(Args)]
struct StartTimeout {
    /// How long a daemon may take to start
    #[arg(short = 't', long, value_name = "DURATION", default_value = "10s",
          value_parser = humantime::parse_duration)]
    start_timeout: Duration,
}

#[derive(Args)]
struct StopArgs {
    /// fast, or immediate as in a crash
    #[arg(short = 'm', value_name = "MODE", default_value = "fast")]
    mode: crate::process::StopMode,
}

#[derive(Subcommand)]
enum MappingsCommand {
    /// Give a timeline a name
    Map {
        /// The name
        #[arg(long)]
        branch_name: String,
        /// The timeline's tenant
        #[arg(long)]
        tenant_id: TenantId,
        /// The timeline
        #[arg(long)]
        timeline_id: TimelineId,
    },
}

#[derive(Args)]
struct PgArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<String>,
}

/// Runs the command that the process was called with.
pub async fn run() -> anyhow::Result<ExitCode> {
    let command = Cli::parse().command;
    if let Command::Pg(_) = command {
        bail!("'pg' subcommand has been renamed to 'endpoint'");
    }
    let repo_dir = LocalEnv::repo_dir_from_env()?;
    if let Command::Init(args) = command {
        init::run(&repo_dir, args).context("init failed")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut env = LocalEnv::load(&repo_dir)?;
    let code = dispatch(&mut env, command).await?;
    if code == ExitCode::SUCCESS {
        env.save_if_changed()?;
    }
    Ok(code)
}

async fn dispatch(env: &mut LocalEnv, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(_) | Command::Pg(_) => bail!("this command needs no repo"),
        Command::Start(args) => daemons::start_all(env, args.start_timeout).await,
        Command::Stop(args) => {
            daemons::stop_all(env, args.mode).await;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status => status::show(env).await,
        Command::Tenant(command) => success(tenant::run(env, command).await),
        Command::Timeline(command) => success(timeline::run(env, command).await),
        Command::Pageserver(args) => daemons::pageserver(env, args).await,
        Command::Safekeeper(command) => daemons::safekeeper(env, command).await,
        Command::StorageBroker(command) => daemons::broker(env, command).await,
        Command::Endpoint(command) => success(endpoint::run(env, command).await),
        Command::Mappings(MappingsCommand::Map { branch_name, tenant_id, timeline_id }) => {
            success(env.map_branch(&branch_name, tenant_id, timeline_id).map_err(Into::into))
        }
    }
}

fn success(result: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}

/// The tenant that a command is about.
fn tenant_or_default(env: &LocalEnv, given: Option<TenantId>) -> anyhow::Result<TenantId> {
    given
        .or(env.config.default_tenant_id)
        .context("No tenant id. Use --tenant-id, or set a default tenant")
}

/// The version option of several commands.
fn parse_pg_version(text: &str) -> Result<PgMajor, String> {
    let number: u32 = text.parse().map_err(|_| "expected a number, such as 15".to_owned())?;
    PgMajor::try_from(number).map_err(|error| error.to_string())
}

/// An error with its causes. Most of our messages quote their cause already; what has been
/// said is not repeated.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// A table without borders.
fn borderless_table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Prints text that may be longer than the reader wants to read.
fn print_all(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("could not write to stdout"),
    }
}

#[cfg(test)]
mod tests;
