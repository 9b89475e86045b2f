//! `neon_local timeline`.

use anyhow::Context;
use clap::{Args, Subcommand};
use pageserver_api::models::{TimelineCreateRequest, TimelineInfo};
use pageserver_api::shard::TenantShardId;
use postgres_ffi::PgMajor;
use utils::{Lsn, TenantId, TimelineId};

use crate::attachments::{pageserver_error, pageserver_of};
use crate::config::LocalEnv;
use crate::pageserver;
use crate::timeline_tree::{TreeTimeline, draw};

#[derive(Subcommand)]
pub(super) enum TimelineCommand {
    /// Show the tree of timelines
    List {
        /// The tenant (or its shard) [default: the default tenant]
        #[arg(long)]
        tenant_id: Option<TenantShardId>,
    },
    /// Create an empty timeline
    Create(CreateArgs),
    /// Branch off an existing timeline
    Branch(BranchArgs),
    /// Make a timeline of a backup of a stock cluster
    Import(super::timeline_import::ImportArgs),
}

#[derive(Args)]
pub(super) struct CreateArgs {
    /// The tenant [default: the default tenant]
    #[arg(long)]
    tenant_id: Option<TenantId>,
    /// The new timeline's id [default: random]
    #[arg(long)]
    timeline_id: Option<TimelineId>,
    /// The new timeline's name
    #[arg(long)]
    branch_name: Option<String>,
    /// PostgreSQL version
    #[arg(long, default_value = "15", value_parser = super::parse_pg_version)]
    pg_version: PgMajor,
}

#[derive(Args)]
pub(super) struct BranchArgs {
    /// The tenant [default: the default tenant]
    #[arg(long)]
    tenant_id: Option<TenantId>,
    /// The new timeline's id [default: random]
    #[arg(long)]
    timeline_id: Option<TimelineId>,
    /// The new timeline's name
    #[arg(long)]
    branch_name: Option<String>,
    /// The timeline to branch off
    #[arg(long, default_value = "main")]
    ancestor_branch_name: String,
    /// Where to branch off [default: the ancestor's end]
    #[arg(long)]
    ancestor_start_lsn: Option<Lsn>,
}

pub(super) async fn run(env: &mut LocalEnv, command: TimelineCommand) -> anyhow::Result<()> {
    match command {
        TimelineCommand::List { tenant_id } => {
            let given = tenant_id.map(|shard| shard.tenant_id);
            let tenant_id = super::tenant_or_default(env, given)?;
            list(env, tenant_id).await
        }
        TimelineCommand::Create(args) => create(env, args).await,
        TimelineCommand::Branch(args) => branch(env, args).await,
        TimelineCommand::Import(args) => super::timeline_import::run(env, args).await,
    }
}

async fn list(env: &LocalEnv, tenant_id: TenantId) -> anyhow::Result<()> {
    let timelines: Vec<TreeTimeline> = all_of_tenant(env, tenant_id)
        .await?
        .into_iter()
        .map(|info| TreeTimeline {
            id: info.timeline_id,
            name: env.branch_name(tenant_id, info.timeline_id).map(str::to_owned),
            ancestor: info
                .ancestor_timeline_id
                .map(|id| (id, info.ancestor_lsn.unwrap_or(Lsn::INVALID))),
        })
        .collect();
    super::print_all(&draw(&timelines))
}

/// The timelines of a tenant, from the pageserver that has it.
pub(super) async fn all_of_tenant(
    env: &LocalEnv,
    tenant_id: TenantId,
) -> anyhow::Result<Vec<TimelineInfo>> {
    let conf = pageserver_of(env, tenant_id)?;
    let timelines = pageserver::client(env, conf)?
        .timelines(TenantShardId::unsharded(tenant_id))
        .await
        .map_err(|source| pageserver_error(env, conf, source))?;
    Ok(timelines)
}

async fn create(env: &mut LocalEnv, args: CreateArgs) -> anyhow::Result<()> {
    let tenant_id = super::tenant_or_default(env, args.tenant_id)?;
    let name = args.branch_name.context("No branch name provided")?;
    let request = TimelineCreateRequest {
        new_timeline_id: args.timeline_id.unwrap_or_else(TimelineId::generate),
        ancestor_timeline_id: None,
        existing_initdb_timeline_id: None,
        ancestor_start_lsn: None,
        pg_version: Some(args.pg_version.number()),
    };
    let info = create_named(env, tenant_id, &name, &request).await?;
    println!(
        "Created timeline '{}' at Lsn {} for tenant: {tenant_id}",
        info.timeline_id, info.last_record_lsn
    );
    Ok(())
}

async fn branch(env: &mut LocalEnv, args: BranchArgs) -> anyhow::Result<()> {
    let tenant_id = super::tenant_or_default(env, args.tenant_id)?;
    let name = args.branch_name.context("No branch name provided")?;
    let ancestor = &args.ancestor_branch_name;
    let ancestor_id = env
        .branch_timeline(ancestor, tenant_id)
        .with_context(|| format!("Found no timeline id for branch name '{ancestor}'"))?;
    let request = TimelineCreateRequest {
        new_timeline_id: args.timeline_id.unwrap_or_else(TimelineId::generate),
        ancestor_timeline_id: Some(ancestor_id),
        existing_initdb_timeline_id: None,
        ancestor_start_lsn: args.ancestor_start_lsn,
        pg_version: None,
    };
    let info = create_named(env, tenant_id, &name, &request).await?;
    println!(
        "Created timeline '{}' at Lsn {} for tenant: {tenant_id}. Ancestor timeline: '{ancestor}'",
        info.timeline_id, info.last_record_lsn
    );
    Ok(())
}

async fn create_named(
    env: &mut LocalEnv,
    tenant_id: TenantId,
    name: &str,
    request: &TimelineCreateRequest,
) -> anyhow::Result<TimelineInfo> {
    // First, so that a name that is taken leaves no nameless timeline behind.
    env.map_branch(name, tenant_id, request.new_timeline_id)?;
    let conf = pageserver_of(env, tenant_id)?;
    let client = pageserver::client(env, conf)?;
    let shard = TenantShardId::unsharded(tenant_id);
    let info = pageserver::retry_while_busy(async || client.create_timeline(shard, request).await)
        .await
        .map_err(|source| pageserver_error(env, conf, source))?;
    Ok(info)
}
