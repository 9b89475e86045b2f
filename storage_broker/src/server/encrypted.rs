//! Connections to the listener that encrypts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tls::TlsAcceptor;
use tls::server_stream::TlsStream;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;

use super::{Server, connect_info, is_grpc};

/// How long a client may take to agree on a TLS session.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// The first byte of a client that asks for a TLS session: a record of type handshake.
const HANDSHAKE_RECORD: u8 = 22;
/// What others are told.
const MUST_ENCRYPT: &str = "must connect with TLS: give an https:// endpoint";

/// A connection whose client has shown what it wants.
enum Begun {
    Encrypted(Box<TlsStream<TcpStream>>, TcpConnectInfo),
    Plain(TcpStream),
}

pub(super) async fn serve(
    server: Server,
    acceptor: Arc<TlsAcceptor>,
    socket: TcpStream,
    peer: SocketAddr,
) {
    let begun = tokio::time::timeout(HANDSHAKE_LIMIT, begin(&acceptor, socket, peer)).await;
    match begun {
        Ok(Ok(Begun::Encrypted(session, info))) => {
            server.serve_connection(TokioIo::new(session), info, peer).await;
        }
        Ok(Ok(Begun::Plain(socket))) => refuse(&server, socket, peer).await,
        Ok(Err(error)) => tracing::info!("no TLS session with {peer}: {error}"),
        Err(_elapsed) => tracing::info!("no TLS session with {peer} within {HANDSHAKE_LIMIT:?}"),
    }
}

async fn begin(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    peer: SocketAddr,
) -> std::io::Result<Begun> {
    if !asks_for_tls(&socket).await? {
        return Ok(Begun::Plain(socket));
    }
    let info = connect_info(&socket, peer);
    Ok(Begun::Encrypted(Box::new(acceptor.accept(socket).await?), info))
}

/// Looks at the first byte without taking it. A client that says nothing asks for nothing.
async fn asks_for_tls(socket: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    let length = socket.peek(&mut first).await?;
    Ok(length == 0 || first == [HANDSHAKE_RECORD])
}

/// Answers each request with what the client should do, and nothing else.
async fn refuse(server: &Server, socket: TcpStream, peer: SocketAddr) {
    tracing::info!("{peer} does not encrypt, its requests are refused");
    let service = service_fn(async |request: Request<Incoming>| {
        let refusal = match is_grpc(&request) {
            true => Status::failed_precondition(MUST_ENCRYPT).into_http(),
            false => {
                let mut response = Response::new(Body::new(Full::from(MUST_ENCRYPT)));
                *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
                response
            }
        };
        Ok::<Response<Body>, Infallible>(refusal)
    });
    if let Err(error) = server.connections.serve_connection(TokioIo::new(socket), service).await {
        tracing::info!("connection from {peer} ended with an error: {error}");
    }
}
