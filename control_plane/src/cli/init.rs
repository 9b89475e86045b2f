//! `neon_local init`.

use anyhow::bail;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use postgres_ffi::PgMajor;

use crate::config::{InitConf, LocalEnv};
use crate::init::{self, Force};
use crate::ports::{self, WantedPort};
use crate::{broker, pageserver, safekeeper};

#[derive(Args)]
pub(super) struct InitArgs {
    /// Number of pageservers [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=1000))]
    num_pageservers: Option<u16>,
    /// Description of the installation, in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<Utf8PathBuf>,
    /// What to do if the directory exists: must-not-exist, empty-dir-ok or remove-all-contents
    #[arg(long, value_name = "MODE", default_value = "must-not-exist")]
    force: Force,
    /// Accepted for compatibility; has no effect
    #[arg(long, value_parser = super::parse_pg_version)]
    pg_version: Option<PgMajor>,
}

pub(super) fn run(repo_dir: &Utf8Path, args: InitArgs) -> anyhow::Result<()> {
    if args.num_pageservers.is_some() && args.config.is_some() {
        bail!(
            "Cannot specify both --num-pageservers and --config, use the [[pageservers]] entries \
             of the config file"
        );
    }
    let conf = match &args.config {
        Some(path) => InitConf::load(path)?,
        None => InitConf::with_defaults(args.num_pageservers.unwrap_or(1)),
    };
    init::init(repo_dir, conf, args.force)?;
    if let Some(warning) = init::root_access_warning(repo_dir) {
        eprintln!("warning: {warning}");
    }
    let env = LocalEnv::load(repo_dir)?;
    for wanted in all_ports(&env) {
        // Not an error yet: whoever listens there may be gone when the daemons start.
        if let Err(taken) = ports::check(wanted) {
            eprintln!("warning: {taken}");
        }
    }
    Ok(())
}

fn all_ports(env: &LocalEnv) -> Vec<WantedPort> {
    let mut all = broker::ports(env);
    all.extend(env.pageservers.iter().flat_map(|conf| pageserver::ports(env, conf)));
    all.extend(env.config.safekeepers.iter().flat_map(|conf| safekeeper::ports(env, conf)));
    all
}
