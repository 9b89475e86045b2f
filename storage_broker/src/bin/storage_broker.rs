//! The `storage_broker` daemon: options, logging, listener, signals.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use camino::Utf8PathBuf;
use clap::Parser;
use storage_broker::server::{ChannelSizes, Server, ServerOptions};
use storage_broker::{DEFAULT_KEEPALIVE_INTERVAL, DEFAULT_LISTEN_ADDR};
use tls::ServerTls;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utils::logging::{self, LogFormat};

/// Relays the state of timelines between safekeepers and pageservers.
#[derive(Parser)]
#[command(version = build_info::GIT_VERSION, about)]
struct Options {
    /// Socket address for gRPC and HTTP [default: 127.0.0.1:50051, unless --listen-https-addr is
    /// given]
    #[arg(short, long, value_name = "IP:PORT")]
    listen_addr: Option<SocketAddr>,
    /// Socket address for the same over TLS
    #[arg(long, value_name = "IP:PORT")]
    listen_https_addr: Option<SocketAddr>,
    /// Private key, PEM
    #[arg(long, value_name = "PATH", default_value = "server.key")]
    ssl_key_file: Utf8PathBuf,
    /// Certificate and those above it, PEM
    #[arg(long, value_name = "PATH", default_value = "server.crt")]
    ssl_cert_file: Utf8PathBuf,
    /// Key and certificate are read again this often
    #[arg(long, value_name = "DURATION", default_value = "60s",
          value_parser = humantime::parse_duration)]
    ssl_cert_reload_period: Duration,
    /// Number of messages buffered per timeline
    #[arg(long, value_name = "N", default_value = "32", value_parser = channel_size)]
    timeline_chan_size: usize,
    /// Number of messages buffered for subscribers to all timelines
    #[arg(long, value_name = "N", default_value = "16384", value_parser = channel_size)]
    all_keys_chan_size: usize,
    /// How often clients are asked for a sign of life
    #[arg(long, value_name = "DURATION", default_value = DEFAULT_KEEPALIVE_INTERVAL,
          value_parser = humantime::parse_duration)]
    http2_keepalive_interval: Duration,
    /// Form of log lines: plain or json
    #[arg(long, value_name = "FORMAT", default_value = "plain")]
    log_format: LogFormat,
}

fn channel_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 1..=0x1_0000_0000) => Ok(size),
        _ => Err("expected a number of messages, at least 1".to_owned()),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    logging::init(options.log_format)?;
    logging::install_panic_hook();
    metrics::init(build_info::GIT_VERSION, build_info::BUILD_TAG)?;
    tracing::info!("version: {}", build_info::GIT_VERSION);
    tracing::info!("build_tag: {}", build_info::BUILD_TAG);

    let server = Server::new(ServerOptions {
        channel_sizes: ChannelSizes {
            timeline: options.timeline_chan_size,
            all_keys: options.all_keys_chan_size,
        },
        http2_keepalive_interval: options.http2_keepalive_interval,
    });
    let plain = bind_plain(&options).await?;
    let encrypted = bind_encrypted(&options).await?;
    let serve_plain = async {
        match plain {
            Some(listener) => server.clone().serve(listener).await,
            None => std::future::pending().await,
        }
    };
    let serve_encrypted = async {
        match encrypted {
            Some((listener, tls)) => server.clone().serve_tls(listener, tls).await,
            None => std::future::pending().await,
        }
    };
    // Dropping the server loses nothing: it has no state worth keeping.
    tokio::select! {
        () = serve_plain => {}
        () = serve_encrypted => {}
        signal = utils::signals::wait_for_shutdown_signal() => {
            tracing::info!("got {}, shutting down", signal?);
        }
    }
    Ok(())
}

async fn bind_plain(options: &Options) -> anyhow::Result<Option<TcpListener>> {
    let address = match (options.listen_addr, options.listen_https_addr) {
        (Some(address), _) => address,
        (None, None) => DEFAULT_LISTEN_ADDR.parse()?,
        (None, Some(_)) => return Ok(None),
    };
    bind("--listen-addr", address).await.map(Some)
}

async fn bind_encrypted(options: &Options) -> anyhow::Result<Option<(TcpListener, ServerTls)>> {
    let Some(address) = options.listen_https_addr else { return Ok(None) };
    let tls = ServerTls::load(&options.ssl_cert_file, &options.ssl_key_file, tls::ALPN_HTTP2);
    let tls = tls.context("options --ssl-cert-file, --ssl-key-file")?;
    let period = options.ssl_cert_reload_period;
    tokio::spawn(tls.clone().keep_current(period, CancellationToken::new()));
    Ok(Some((bind("--listen-https-addr", address).await?, tls)))
}

async fn bind(option: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("could not listen on {address}: choose another address with {option}")
    })?;
    tracing::info!("listening on {}", listener.local_addr()?);
    Ok(listener)
}
