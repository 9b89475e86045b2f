//! The listener: one port for gRPC (HTTP/2) and plain HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt;

use crate::proto::broker_service_server::BrokerServiceServer;
pub use crate::registry::ChannelSizes;
use crate::registry::Registry;
use crate::service::Broker;
use crate::{http as plain_http, metrics};

/// A client that does not answer a PING for this long is gone.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// After a failed accept (out of descriptors, most likely) others get time to close theirs.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How the server behaves.
#[derive(Debug, Clone, Copy)]
pub struct ServerOptions {
    /// Capacities of the channels.
    pub channel_sizes: ChannelSizes,
    /// How often clients are PINGed.
    pub http2_keepalive_interval: Duration,
}

type GrpcService = BrokerServiceServer<Broker>;

/// Serves connections until the future is dropped.
pub async fn run(listener: TcpListener, options: ServerOptions) {
    metrics::register();
    let grpc = BrokerServiceServer::new(Broker::new(Registry::new(options.channel_sizes)));
    let connections = connection_builder(&options);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(serve_connection(stream, peer, connections.clone(), grpc.clone()));
            }
            Err(error) => {
                tracing::info!("could not accept a connection: {error}");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

fn connection_builder(options: &ServerOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(options.http2_keepalive_interval)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        // A pageserver has a stream per timeline, thousands on one connection: a limit
        // would stall it silently.
        .max_concurrent_streams(None);
    builder
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    connections: auto::Builder<TokioExecutor>,
    grpc: GrpcService,
) {
    // Messages are small and each matters by itself.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::info!("could not set TCP_NODELAY for {peer}: {error}");
    }
    let info = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: Some(peer) };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(info.clone());
        dispatch(grpc.clone(), request)
    });
    if let Err(error) = connections.serve_connection(TokioIo::new(stream), service).await {
        tracing::info!("connection from {peer} ended with an error: {error}");
    }
}

async fn dispatch(
    grpc: GrpcService,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes() == b"application/grpc") {
        grpc.oneshot(request).await
    } else {
        Ok(plain_http::respond(&request).await)
    }
}
