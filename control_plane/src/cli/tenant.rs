//! `neon_local tenant`.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use pageserver_api::models::TimelineCreateRequest;
use pageserver_api::shard::TenantShardId;
use postgres_ffi::PgMajor;
use utils::{TenantId, TimelineId};

use crate::attachments::{self, pageserver_error};
use crate::config::LocalEnv;
use crate::{pageserver, tenant_settings};

#[derive(Subcommand)]
pub(super) enum TenantCommand {
    /// List tenants and their states
    List,
    /// Create a tenant with an initial timeline, named main
    Create(CreateArgs),
    /// Set the tenant of commands that name none
    SetDefault {
        /// The tenant
        #[arg(long)]
        tenant_id: TenantId,
    },
    /// Replace a tenant's options
    Config {
        /// The tenant [default: the default tenant]
        #[arg(long)]
        tenant_id: Option<TenantId>,
        /// An option, key:value; may be repeated
        #[arg(short = 'c', value_name = "KEY:VALUE")]
        options: Vec<String>,
    },
}

#[derive(Args)]
pub(super) struct CreateArgs {
    /// The tenant's id [default: random]
    #[arg(long)]
    tenant_id: Option<TenantId>,
    /// The initial timeline's id [default: random]
    #[arg(long)]
    timeline_id: Option<TimelineId>,
    /// An option, key:value; may be repeated
    #[arg(short = 'c', value_name = "KEY:VALUE")]
    options: Vec<String>,
    /// PostgreSQL version of the initial timeline
    #[arg(long, default_value = "15", value_parser = super::parse_pg_version)]
    pg_version: PgMajor,
    /// Make it the tenant of commands that name none
    #[arg(long)]
    set_default: bool,
    /// Number of shards; 0 is unsharded
    #[arg(long, default_value_t = 0)]
    shard_count: u8,
    /// Size of stripes over shards, in pages
    #[arg(long)]
    shard_stripe_size: Option<u32>,
    /// Placement policy of the storage controller, in JSON
    #[arg(long)]
    placement_policy: Option<String>,
}

pub(super) async fn run(env: &mut LocalEnv, command: TenantCommand) -> anyhow::Result<()> {
    match command {
        TenantCommand::List => list(env).await,
        TenantCommand::Create(args) => create(env, args).await,
        TenantCommand::SetDefault { tenant_id } => {
            set_default(env, tenant_id);
            Ok(())
        }
        TenantCommand::Config { tenant_id, options } => {
            let tenant_id = super::tenant_or_default(env, tenant_id)?;
            let options = tenant_settings::parse(&options)?;
            attachments::configure_tenant(env, tenant_id, &options)
                .await
                .with_context(|| format!("Tenant config failed for tenant with id {tenant_id}"))?;
            println!("tenant {tenant_id} successfully configured on the pageserver");
            Ok(())
        }
    }
}

async fn list(env: &LocalEnv) -> anyhow::Result<()> {
    let mut text = String::new();
    for conf in &env.pageservers {
        let client = pageserver::client(env, conf)?;
        let tenants =
            client.tenants().await.map_err(|source| pageserver_error(env, conf, source))?;
        for tenant in tenants {
            text.push_str(&format!("{} {}\n", tenant.id, tenant.state));
        }
    }
    super::print_all(&text)
}

async fn create(env: &mut LocalEnv, args: CreateArgs) -> anyhow::Result<()> {
    if args.shard_count > 1 {
        bail!("sharded tenants need the storage controller: leave out --shard-count");
    }
    let options = tenant_settings::parse(&args.options)?;
    let tenant_id = args.tenant_id.unwrap_or_else(TenantId::generate);
    let timeline_id = args.timeline_id.unwrap_or_else(TimelineId::generate);

    let conf = attachments::create_tenant(env, tenant_id, &options).await?;
    println!("tenant {tenant_id} successfully created on the pageserver");

    let request = TimelineCreateRequest {
        new_timeline_id: timeline_id,
        ancestor_timeline_id: None,
        existing_initdb_timeline_id: None,
        ancestor_start_lsn: None,
        pg_version: Some(args.pg_version.number()),
    };
    let client = pageserver::client(env, conf)?;
    let shard = TenantShardId::unsharded(tenant_id);
    pageserver::retry_while_busy(async || client.create_timeline(shard, &request).await)
        .await
        .map_err(|source| pageserver_error(env, conf, source))
        .with_context(|| {
            format!(
                "the tenant exists, but its initial timeline could not be created; try again \
                 with 'neon_local timeline create --tenant-id {tenant_id} --branch-name main'"
            )
        })?;
    env.map_branch("main", tenant_id, timeline_id)?;
    println!("Created an initial timeline '{timeline_id}' for tenant: {tenant_id}");
    if args.set_default {
        set_default(env, tenant_id);
    }
    Ok(())
}

fn set_default(env: &mut LocalEnv, tenant_id: TenantId) {
    println!("Setting tenant {tenant_id} as a default one");
    env.config.default_tenant_id = Some(tenant_id);
}
