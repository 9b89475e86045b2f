//! The `safekeeper` binary: options, log, data directory, then [`safekeeper::service`].

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use camino::Utf8PathBuf;
use clap::Parser;
use safekeeper::auth::SecretToken;
use safekeeper::config::{Config, Options};
use safekeeper::service::{AuthKeys, Listeners, Service};
use safekeeper::{control_store, node_id};
use utils::auth::{JwtAuth, SharedJwtAuth};
use utils::signals::{self, ShutdownSignal};
use utils::{logging, pid_file};

/// Environment variable with the token that this safekeeper presents to others.
const TOKEN_ENV: &str = "SAFEKEEPER_AUTH_TOKEN";
const PID_FILE: &str = "safekeeper.pid";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("safekeeper: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.version {
        println!("{}", version());
        return Ok(());
    }
    if let Some(path) = &options.dump_control_file {
        return dump_control_file(path);
    }
    logging::init(options.log_format.parse().context("option --log-format")?)?;
    logging::install_panic_hook();
    tracing::info!("version: {}", version());
    utils::failpoints::init_from_env()?;
    let workdir = enter_data_directory(&options.datadir)?;
    let id = node_id::read_or_create(&workdir, options.id)?;
    if options.init {
        return Ok(());
    }
    let keys = load_keys(&options)?;
    let mut config = options.into_config(id, workdir)?;
    let _pid_file = pid_file::claim(config.workdir.join(PID_FILE).as_std_path())?;
    let listeners = Listeners::bind(&mut config)?;
    metrics::init(build_info::GIT_VERSION, build_info::BUILD_TAG)?;
    // The service starts its own runtimes for what takes time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    runtime.block_on(serve(config, keys, listeners))
}

async fn serve(config: Config, keys: AuthKeys, listeners: Listeners) -> anyhow::Result<()> {
    let stopped = signals::wait_for_shutdown_signal();
    let (id, listen_pg, listen_http) =
        (config.id, config.listen_pg.clone(), config.listen_http.clone());
    let mut service = Service::start(config, keys, listeners)?;
    service.register_metrics()?;
    tracing::info!("safekeeper {id} serves WAL on {listen_pg} and HTTP on {listen_http}");
    if let Err(error) = notify_ready() {
        tracing::warn!("cannot notify the service manager: {error}");
    }
    let signal = tokio::select! {
        signal = stopped => signal?,
        error = service.failed() => return Err(error),
    };
    tracing::info!("received {signal}, terminating");
    // Durability never depends on an orderly end, so there need not be one.
    if signal != ShutdownSignal::Quit {
        tokio::select! {
            () = service.stop() => {}
            again = signals::wait_for_shutdown_signal() => {
                tracing::info!("received {} as well, terminating at once", again?);
            }
        }
    }
    std::process::exit(0)
}

/// Tells systemd, if it started us, that the service is up.
fn notify_ready() -> std::io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    socket.send_to_addr(b"READY=1", &address)?;
    Ok(())
}

fn version() -> String {
    let failpoints = utils::failpoints::compiled_in();
    let features: &[&str] = if cfg!(feature = "testing") { &["testing"] } else { &[] };
    let git_version = build_info::GIT_VERSION;
    format!("Neon safekeeper {git_version} failpoints: {failpoints}, features: {features:?}")
}

fn dump_control_file(path: &camino::Utf8Path) -> anyhow::Result<()> {
    print!("{}", serde_json::to_string(&control_store::read(path)?)?);
    Ok(())
}

fn enter_data_directory(dir: &Utf8PathBuf) -> anyhow::Result<Utf8PathBuf> {
    let workdir = dir
        .canonicalize_utf8()
        .with_context(|| format!("option --datadir: cannot use {dir} as the data directory"))?;
    std::env::set_current_dir(&workdir).with_context(|| format!("cannot change to {workdir}"))?;
    Ok(workdir)
}

fn load_keys(options: &Options) -> anyhow::Result<AuthKeys> {
    let load = |option: &str, path: &Option<String>| -> anyhow::Result<Option<SharedJwtAuth>> {
        let Some(path) = path.as_deref().filter(|path| !path.is_empty()) else { return Ok(None) };
        let keys = JwtAuth::from_key_path(Path::new(path)).with_context(|| option.to_owned())?;
        Ok(Some(SharedJwtAuth::new(keys)))
    };
    Ok(AuthKeys {
        pg: load("--pg-auth-public-key-path", &options.pg_auth_public_key_path)?,
        pg_tenant_only: load(
            "--pg-tenant-only-auth-public-key-path",
            &options.pg_tenant_only_auth_public_key_path,
        )?,
        http: load("--http-auth-public-key-path", &options.http_auth_public_key_path)?,
        own_token: std::env::var(TOKEN_ENV).ok().filter(|it| !it.is_empty()).map(SecretToken),
    })
}
