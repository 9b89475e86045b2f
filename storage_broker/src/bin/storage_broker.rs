//! The `storage_broker` daemon: options, logging, listener, signals.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use storage_broker::server::{self, ChannelSizes, ServerOptions};
use storage_broker::{DEFAULT_KEEPALIVE_INTERVAL, DEFAULT_LISTEN_ADDR};
use tokio::net::TcpListener;
use utils::logging::{self, LogFormat};

/// Relays the state of timelines between safekeepers and pageservers.
#[derive(Parser)]
#[command(version = build_info::GIT_VERSION, about)]
struct Options {
    /// Socket address for gRPC and HTTP
    #[arg(short, long, value_name = "IP:PORT", default_value = DEFAULT_LISTEN_ADDR)]
    listen_addr: SocketAddr,
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

    let listener = TcpListener::bind(options.listen_addr).await.with_context(|| {
        format!(
            "could not listen on {}: choose another address with --listen-addr",
            options.listen_addr
        )
    })?;
    tracing::info!("listening on {}", listener.local_addr()?);

    let server_options = ServerOptions {
        channel_sizes: ChannelSizes {
            timeline: options.timeline_chan_size,
            all_keys: options.all_keys_chan_size,
        },
        http2_keepalive_interval: options.http2_keepalive_interval,
    };
    // Dropping the server loses nothing: it has no state worth keeping.
    tokio::select! {
        () = server::run(listener, server_options) => {}
        signal = utils::signals::wait_for_shutdown_signal() => {
            tracing::info!("got {}, shutting down", signal?);
        }
    }
    Ok(())
}
