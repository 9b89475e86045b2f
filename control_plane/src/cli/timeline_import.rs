//! `neon_local timeline import`: a backup of a stock cluster becomes a timeline.

mod tablespaces;

use anyhow::{Context, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use postgres_client::{ConnectOptions, CopyIn};
use postgres_ffi::PgMajor;
use tokio::io::AsyncReadExt;
use utils::auth::Scope;
use utils::{Lsn, TenantId, TimelineId};

use crate::attachments::pageserver_of;
use crate::config::{AuthType, LocalEnv};
use crate::tokens;

use tablespaces::Tablespace;

/// Bytes of an archive sent at once.
const CHUNK_BYTES: usize = 128 * 1024;

#[derive(Args)]
pub(super) struct ImportArgs {
    /// The tenant [default: the default tenant]
    #[arg(long)]
    tenant_id: Option<TenantId>,
    /// The new timeline's id [default: random]
    #[arg(long)]
    timeline_id: Option<TimelineId>,
    /// The new timeline's name
    #[arg(long)]
    branch_name: Option<String>,
    /// Archive of the data directory, as pg_basebackup -Ft writes it; those of tablespaces,
    /// <oid>.tar, are taken from the same directory
    #[arg(long)]
    base_tarfile: Option<Utf8PathBuf>,
    /// Where the backup starts
    #[arg(long)]
    base_lsn: Option<Lsn>,
    /// Archive of the WAL, as pg_basebackup -Ft -Xstream writes it
    #[arg(long, requires = "end_lsn")]
    wal_tarfile: Option<Utf8PathBuf>,
    /// Where the backup ends
    #[arg(long, requires = "wal_tarfile")]
    end_lsn: Option<Lsn>,
    /// PostgreSQL version
    #[arg(long, default_value = "15", value_parser = super::parse_pg_version)]
    pg_version: PgMajor,
}

pub(super) async fn run(env: &mut LocalEnv, args: ImportArgs) -> anyhow::Result<()> {
    let tenant = super::tenant_or_default(env, args.tenant_id)?;
    let name = args.branch_name.context("No branch name provided")?;
    let base_tarfile = args.base_tarfile.context("No base-tarfile provided")?;
    let base_lsn = args.base_lsn.context("No base-lsn provided")?;
    let timeline = args.timeline_id.unwrap_or_else(TimelineId::generate);
    let end_lsn = args.end_lsn.unwrap_or(base_lsn);
    let files = [Some(&base_tarfile), args.wal_tarfile.as_ref()];
    if let Some(absent) = files.into_iter().flatten().find(|file| !file.is_file()) {
        bail!("there is no file {absent}");
    }
    if env.branch_timeline(&name, tenant).is_some_and(|known| known != timeline) {
        bail!("branch '{name}' exists already");
    }
    let tablespaces = tablespaces::beside(&base_tarfile)?;
    let options = page_service(env, tenant)?;
    println!("Importing timeline into pageserver ...");
    let version = args.pg_version.number();
    let command = format!("import basebackup {tenant} {timeline} {base_lsn} {end_lsn} {version}");
    send(&options, &command, &tablespaces, &base_tarfile).await?;
    if let Some(wal_tarfile) = args.wal_tarfile {
        let command = format!("import wal {tenant} {timeline} {base_lsn} {end_lsn}");
        send(&options, &command, &[], &wal_tarfile).await?;
    }
    // Last, so that no name is left for a timeline that could not be imported.
    env.map_branch(&name, tenant, timeline)?;
    println!("Done");
    println!("Created timeline '{timeline}' at Lsn {end_lsn} for tenant: {tenant}");
    Ok(())
}

/// How to reach the page service of the pageserver that has a tenant.
fn page_service(env: &LocalEnv, tenant: TenantId) -> anyhow::Result<ConnectOptions> {
    let conf = pageserver_of(env, tenant)?;
    let (host, port) = conf.pg_host_port();
    let mut options = ConnectOptions { tls: env.client_tls(), ..ConnectOptions::new(host, port) };
    if conf.pg_auth_type == AuthType::NeonJWT {
        options.password = Some(tokens::scoped(env, Scope::PageServerApi)?);
    }
    Ok(options)
}

/// Sends a file as the COPY data of a command, after the contents of tablespaces. The file comes
/// last, and unchanged, because its end tells the pageserver that it is whole.
async fn send(
    options: &ConnectOptions,
    command: &str,
    tablespaces: &[Tablespace],
    path: &Utf8Path,
) -> anyhow::Result<()> {
    let client = options.connect().await.context("cannot reach the pageserver")?;
    let mut stream = client.copy_in(command).await?;
    for tablespace in tablespaces {
        println!("with tablespace {}", tablespace.oid);
        tablespace.send(&mut stream).await?;
    }
    send_file(&mut stream, path).await?;
    stream.finish().await.with_context(|| format!("the pageserver refuses {path}"))
}

async fn send_file(stream: &mut CopyIn, path: &Utf8Path) -> anyhow::Result<()> {
    let mut file =
        tokio::fs::File::open(path).await.with_context(|| format!("cannot open {path}"))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = file.read(&mut buffer).await.with_context(|| format!("cannot read {path}"))?;
        match buffer.get(..length) {
            Some([]) | None => return Ok(()),
            Some(chunk) => stream.send(chunk).await?,
        }
    }
}
