//! The command line.

use camino::Utf8PathBuf;
use clap::Parser;
use postgres_client::ConnectOptions;

/// Environment variable with the token for page and WAL services.
pub const TOKEN_VARIABLE: &str = "NEON_AUTH_TOKEN";

/// Runs one PostgreSQL endpoint on the storage: agrees with the safekeepers on the end of WAL,
/// builds the data directory from the pageserver, starts a stock server, and carries its WAL
/// to the safekeepers.
#[derive(Debug, Parser)]
#[command(name = "compute_ctl")]
pub struct Arguments {
    /// Port of the status API, on 127.0.0.1.
    #[arg(long, default_value_t = 3080)]
    pub http_port: u16,
    /// Data directory. Whatever it holds is removed.
    #[arg(short = 'D', long)]
    pub pgdata: Utf8PathBuf,
    /// How to reach the server once it runs: role, address and database of a superuser.
    #[arg(short = 'C', long)]
    pub connstr: String,
    /// File with the spec, in JSON.
    #[arg(short = 'S', long)]
    pub spec_path: Utf8PathBuf,
    /// The `postgres` program, or its directory.
    #[arg(short = 'b', long, default_value = "postgres")]
    pub pgbin: Utf8PathBuf,
    /// Where remote extensions are. Accepted for launchers that pass it; not used.
    #[arg(long)]
    pub remote_ext_config: Option<String>,
    /// Account that runs PostgreSQL when compute_ctl itself runs as root.
    #[arg(long, default_value = "postgres")]
    pub postgres_user: String,
    /// Longest wait for PostgreSQL to stop cleanly, in seconds, before it is stopped hard.
    #[arg(long, default_value_t = 60)]
    pub shutdown_timeout_seconds: u64,
}

impl Arguments {
    /// The superuser session that `--connstr` describes.
    pub fn admin(&self) -> anyhow::Result<ConnectOptions> {
        let options = ConnectOptions::parse(&self.connstr);
        let mut options = options.map_err(|error| anyhow::anyhow!("--connstr: {error}"))?;
        options.application_name = Some("compute_ctl".to_owned());
        Ok(options)
    }
}
