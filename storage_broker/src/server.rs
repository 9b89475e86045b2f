//! The listeners: each one port for gRPC (HTTP/2) and plain HTTP, encrypted or not.

mod encrypted;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tls::ServerTls;
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

/// The broker. Clones relay to each other's subscribers.
#[derive(Clone)]
pub struct Server {
    grpc: GrpcService,
    connections: auto::Builder<TokioExecutor>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// One that knows nobody yet.
    pub fn new(options: ServerOptions) -> Self {
        metrics::register();
        let grpc = BrokerServiceServer::new(Broker::new(Registry::new(options.channel_sizes)));
        Self { grpc, connections: connection_builder(&options) }
    }

    /// Serves connections until the future is dropped.
    pub async fn serve(self, listener: TcpListener) {
        accept(listener, |socket, peer| self.clone().serve_plain(socket, peer)).await;
    }

    /// The same over TLS. Clients that do not encrypt are told to.
    pub async fn serve_tls(self, listener: TcpListener, tls: ServerTls) {
        let acceptor = Arc::new(tls.acceptor());
        accept(listener, |socket, peer| {
            encrypted::serve(self.clone(), acceptor.clone(), socket, peer)
        })
        .await;
    }

    async fn serve_plain(self, socket: TcpStream, peer: SocketAddr) {
        let info = connect_info(&socket, peer);
        self.serve_connection(TokioIo::new(socket), info, peer).await;
    }

    async fn serve_connection(
        self,
        io: impl Read + Write + Unpin + Send + 'static,
        info: TcpConnectInfo,
        peer: SocketAddr,
    ) {
        let grpc = self.grpc;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(info.clone());
            dispatch(grpc.clone(), request)
        });
        if let Err(error) = self.connections.serve_connection(io, service).await {
            tracing::info!("connection from {peer} ended with an error: {error}");
        }
    }
}

/// Serves plain connections only, until the future is dropped.
pub async fn run(listener: TcpListener, options: ServerOptions) {
    Server::new(options).serve(listener).await;
}

async fn accept<F>(listener: TcpListener, mut serve: impl FnMut(TcpStream, SocketAddr) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                // Messages are small and each matters by itself.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::info!("could not set TCP_NODELAY for {peer}: {error}");
                }
                tokio::spawn(serve(socket, peer));
            }
            Err(error) => {
                tracing::info!("could not accept a connection: {error}");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

fn connect_info(socket: &TcpStream, peer: SocketAddr) -> TcpConnectInfo {
    TcpConnectInfo { local_addr: socket.local_addr().ok(), remote_addr: Some(peer) }
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

async fn dispatch(
    grpc: GrpcService,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    match is_grpc(&request) {
        true => grpc.oneshot(request).await,
        false => Ok(plain_http::respond(&request).await),
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes() == b"application/grpc")
}
