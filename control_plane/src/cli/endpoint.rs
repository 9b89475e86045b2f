//! `neon_local endpoint`.

use std::collections::HashMap;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use pageserver_api::shard::TenantShardId;
use postgres_ffi::PgMajor;
use utils::{Lsn, NodeId, TenantId, TimelineId};

use super::timeline::all_of_tenant;
use crate::attachments::pageserver_of;
use crate::config::LocalEnv;
use crate::endpoint::{
    ComputeMode, ComputeTarget, Endpoint, NewEndpoint, PgStopMode, StartOptions,
};
use crate::pageserver;

#[derive(Subcommand)]
pub(super) enum EndpointCommand {
    /// List endpoints
    List {
        /// The tenant (or its shard) [default: the default tenant]
        #[arg(long)]
        tenant_id: Option<TenantShardId>,
    },
    /// Make an endpoint; starts nothing
    Create(CreateArgs),
    /// Start an endpoint
    Start(StartArgs),
    /// Give a running endpoint another pageserver or other safekeepers
    Reconfigure(ReconfigureArgs),
    /// Stop an endpoint
    Stop(StopArgs),
    /// Remove an endpoint that is stopped
    Delete {
        /// Its name
        endpoint_id: String,
    },
}

#[derive(Args)]
pub(super) struct CreateArgs {
    /// Its name [default: ep-<branch>]
    endpoint_id: Option<String>,
    /// The branch to serve
    #[arg(long, default_value = "main")]
    branch_name: String,
    /// The tenant [default: the default tenant]
    #[arg(long)]
    tenant_id: Option<TenantId>,
    /// Serve the state at this position, read only
    #[arg(long)]
    lsn: Option<Lsn>,
    /// PostgreSQL's port
    #[arg(long)]
    pg_port: Option<u16>,
    /// compute_ctl's port
    #[arg(long)]
    http_port: Option<u16>,
    /// Accepted for compatibility; has no effect
    #[arg(long)]
    pageserver_id: Option<NodeId>,
    /// Accepted for compatibility; has no effect
    #[arg(long)]
    config_only: bool,
    /// PostgreSQL version [default: the branch's]
    #[arg(long, value_parser = super::parse_pg_version)]
    pg_version: Option<PgMajor>,
    /// Follow the primary, read only
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    hot_standby: bool,
    /// Let compute_ctl manage roles and databases
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    update_catalog: bool,
    /// Do not refuse a second primary of the branch
    #[arg(long)]
    allow_multiple: bool,
}

#[derive(Args)]
pub(super) struct StartArgs {
    /// Its name
    endpoint_id: String,
    #[command(flatten)]
    target: TargetArgs,
    /// Where extensions are downloaded from
    #[arg(long, value_name = "URL")]
    remote_ext_config: Option<String>,
    /// Make the role `test` and the database `neondb`
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    create_test_user: bool,
    /// Do not refuse a second primary of the branch
    #[arg(long)]
    allow_multiple: bool,
}

#[derive(Args)]
pub(super) struct ReconfigureArgs {
    /// Its name
    endpoint_id: String,
    #[command(flatten)]
    target: TargetArgs,
    /// Accepted for compatibility; has no effect
    #[arg(long)]
    tenant_id: Option<TenantId>,
}

#[derive(Args)]
pub(super) struct TargetArgs {
    /// Get pages from this pageserver [default: the one that has the tenant]
    #[arg(long)]
    pageserver_id: Option<NodeId>,
    /// Write to these safekeepers, comma separated [default: all]
    #[arg(long, value_name = "IDS")]
    safekeepers: Option<String>,
}

#[derive(Args)]
pub(super) struct StopArgs {
    /// Its name
    endpoint_id: String,
    /// Remove it as well, and do not settle its last WAL
    #[arg(long)]
    destroy: bool,
    /// smart, fast or immediate
    #[arg(long, default_value = "fast")]
    mode: PgStopMode,
}

pub(super) async fn run(env: &LocalEnv, command: EndpointCommand) -> anyhow::Result<()> {
    match command {
        EndpointCommand::List { tenant_id } => list(env, tenant_id).await,
        EndpointCommand::Create(args) => create(env, args).await,
        EndpointCommand::Start(args) => start(env, args).await,
        EndpointCommand::Reconfigure(args) => {
            let endpoint = find(env, &args.endpoint_id)?;
            Ok(endpoint.reconfigure(env, &target(env, &endpoint, &args.target)?).await?)
        }
        EndpointCommand::Stop(args) => {
            let endpoint = find(env, &args.endpoint_id)?;
            Ok(endpoint.stop(env, args.mode, args.destroy).await?)
        }
        EndpointCommand::Delete { endpoint_id } => Ok(find(env, &endpoint_id)?.delete()?),
    }
}

fn find(env: &LocalEnv, endpoint_id: &str) -> anyhow::Result<Endpoint> {
    Endpoint::find(env, endpoint_id)?
        .with_context(|| format!("postgres endpoint {endpoint_id} is not found"))
}

async fn list(env: &LocalEnv, shard: Option<TenantShardId>) -> anyhow::Result<()> {
    let tenant_id = super::tenant_or_default(env, shard.map(|shard| shard.tenant_id))?;
    // The list is useful without a pageserver too.
    let last_lsns: HashMap<TimelineId, Lsn> = match all_of_tenant(env, tenant_id).await {
        Ok(infos) => infos.iter().map(|info| (info.timeline_id, info.last_record_lsn)).collect(),
        Err(error) => {
            eprintln!("could not ask for positions of timelines: {}", super::describe(&error));
            HashMap::new()
        }
    };
    let mut table = super::borderless_table([
        "ENDPOINT",
        "ADDRESS",
        "TIMELINE",
        "BRANCH NAME",
        "LSN",
        "STATUS",
    ]);
    let all = Endpoint::list(env)?;
    for endpoint in all.iter().filter(|endpoint| endpoint.conf.tenant_id == tenant_id) {
        let conf = &endpoint.conf;
        let lsn = match conf.mode {
            ComputeMode::Static(lsn) => Some(lsn),
            ComputeMode::Primary | ComputeMode::Replica => {
                last_lsns.get(&conf.timeline_id).copied()
            }
        };
        table.add_row([
            conf.endpoint_id.clone(),
            format!("127.0.0.1:{}", conf.pg_port),
            conf.timeline_id.to_string(),
            env.branch_name(tenant_id, conf.timeline_id).unwrap_or("?").to_owned(),
            lsn.map_or("?".to_owned(), |lsn| lsn.to_string()),
            endpoint.status().to_string(),
        ]);
    }
    super::print_all(&format!("{}\n", table.trim_fmt()))
}

async fn create(env: &LocalEnv, args: CreateArgs) -> anyhow::Result<()> {
    let tenant_id = super::tenant_or_default(env, args.tenant_id)?;
    let branch = &args.branch_name;
    let timeline_id = env
        .branch_timeline(branch, tenant_id)
        .with_context(|| format!("Found no timeline id for branch name '{branch}'"))?;
    let mode = match (args.lsn, args.hot_standby) {
        (Some(lsn), false) => ComputeMode::Static(lsn),
        (None, true) => ComputeMode::Replica,
        (None, false) => ComputeMode::Primary,
        (Some(_), true) => bail!("cannot specify both lsn and hot-standby"),
    };
    let pg_version = match args.pg_version {
        Some(version) => version,
        None => version_of(env, tenant_id, timeline_id).await,
    };
    let new = NewEndpoint {
        endpoint_id: args.endpoint_id.unwrap_or_else(|| format!("ep-{branch}")),
        tenant_id,
        timeline_id,
        mode,
        pg_port: args.pg_port,
        http_port: args.http_port,
        pg_version,
        skip_pg_catalog_updates: !args.update_catalog,
    };
    Endpoint::create(env, new, args.allow_multiple)?;
    Ok(())
}

/// The timeline's PostgreSQL version, or the default one if nobody can be asked.
async fn version_of(env: &LocalEnv, tenant_id: TenantId, timeline_id: TimelineId) -> PgMajor {
    let infos = all_of_tenant(env, tenant_id).await.unwrap_or_default();
    let info = infos.iter().find(|info| info.timeline_id == timeline_id);
    let version = info.and_then(|info| PgMajor::try_from(info.pg_version).ok());
    version.unwrap_or(PgMajor::V15)
}

async fn start(env: &LocalEnv, args: StartArgs) -> anyhow::Result<()> {
    let endpoint_id = &args.endpoint_id;
    let all = Endpoint::list(env)?;
    let endpoint = all
        .iter()
        .find(|known| known.conf.endpoint_id == *endpoint_id)
        .with_context(|| format!("endpoint {endpoint_id} not found"))?;
    if !args.allow_multiple {
        endpoint.refuse_duplicate_primary(&all)?;
    }
    println!("Starting existing endpoint {endpoint_id}...");
    let options = StartOptions {
        target: target(env, endpoint, &args.target)?,
        remote_ext_config: args.remote_ext_config,
        create_test_user: args.create_test_user,
    };
    endpoint.start(env, options).await?;
    Ok(())
}

fn target(env: &LocalEnv, endpoint: &Endpoint, args: &TargetArgs) -> anyhow::Result<ComputeTarget> {
    let conf = match args.pageserver_id {
        Some(id) => pageserver::find(env, id)?,
        None => pageserver_of(env, endpoint.conf.tenant_id)?,
    };
    Ok(ComputeTarget {
        pageservers: vec![conf.clone()],
        shard_stripe_size: None,
        safekeepers: args.safekeepers.as_deref().map(parse_safekeepers).transpose()?,
    })
}

fn parse_safekeepers(list: &str) -> anyhow::Result<Vec<NodeId>> {
    list.split(',')
        .map(|id| {
            id.trim()
                .parse()
                .ok()
                .with_context(|| format!("invalid node ID {id:?} in --safekeepers list"))
        })
        .collect()
}
