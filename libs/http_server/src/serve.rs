//! The accept loop.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tls::server_stream::TlsStream;
use tls::{ServerTls, TlsAcceptor};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long requests under way may take once the server is to end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long a client may take to agree on a TLS session.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Clients that may do so at the same time; others wait to be accepted.
const MAX_HANDSHAKES: usize = 256;
/// Wait after a failed accept, which usually means that no descriptors are left.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Binds a listening socket early in start-up; [`serve`] accepts on it later, after
/// `TcpListener::from_std`.
pub fn bind(address: &str) -> io::Result<std::net::TcpListener> {
    // The standard library sets SO_REUSEADDR on Unix.
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers requests until `cancel` fires, then lets those under way finish for 5 seconds.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    cancel: CancellationToken,
) -> io::Result<()> {
    serve_on(listener, router, cancel).await
}

/// As [`serve`], encrypted.
pub async fn serve_tls(
    listener: TcpListener,
    tls: &ServerTls,
    router: Router,
    cancel: CancellationToken,
) -> io::Result<()> {
    serve_on(TlsListener::new(listener, tls.acceptor()), router, cancel).await
}

async fn serve_on<L: Listener>(
    listener: L,
    router: Router,
    cancel: CancellationToken,
) -> io::Result<()>
where
    L::Addr: std::fmt::Debug,
{
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(cancel.clone().cancelled_owned())
        .into_future();
    let deadline = async {
        cancel.cancelled().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    // Dropping the server closes its connections; handlers go on in their own tasks.
    tokio::select! {
        result = server => result,
        () = deadline => {
            tracing::warn!("HTTP requests still running {SHUTDOWN_GRACE:?} into the shutdown");
            Ok(())
        }
    }
}

/// Accepts connections, and agrees with many clients at once on their sessions: one that is slow
/// delays nobody.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<io::Result<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Self {
        Self { listener, acceptor, handshakes: JoinSet::new() }
    }

    fn begin_handshake(&mut self, socket: TcpStream, peer: SocketAddr) {
        let handshake = self.acceptor.accept(socket);
        self.handshakes.spawn(async move {
            let session = tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await;
            let session = session.unwrap_or_else(|_| {
                let text = format!("no TLS session within {HANDSHAKE_LIMIT:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            })?;
            Ok((session, peer))
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let is_full = self.handshakes.len() >= MAX_HANDSHAKES;
            // Both are cancel safe: what is under way stays in the set.
            tokio::select! {
                Some(finished) = self.handshakes.join_next() => match finished {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err(error)) => tracing::info!("no TLS session with an HTTP client: {error}"),
                    Err(error) => tracing::error!("a TLS handshake failed: {error}"),
                },
                accepted = self.listener.accept(), if !is_full => match accepted {
                    Ok((socket, peer)) => self.begin_handshake(socket, peer),
                    Err(error) => {
                        tracing::warn!("cannot accept an HTTP connection: {error}");
                        tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                    }
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
