//! Accepts connections and serves each in a task of its own until told to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use postgres_backend::{AuthType, PostgresBackend};
use tls::ServerTls;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utils::auth::SharedJwtAuth;

use super::directory::TimelineDirectory;
use super::handler::PageServiceHandler;
use super::metrics::LiveConnection;

/// Time to wait after a failed accept: it usually means that the process has no descriptors
/// left, which only other connections' ends can cure.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How clients prove who they are.
#[derive(Clone)]
pub struct PageServiceConfig {
    /// Whether they must.
    pub auth_type: AuthType,
    /// Checks their tokens; needed unless the type is `Trust`.
    pub auth: Option<Arc<SharedJwtAuth>>,
    /// With it, they must encrypt.
    pub tls: Option<ServerTls>,
}

/// The service behind the listening socket.
pub struct PageService<D> {
    directory: Arc<D>,
    config: PageServiceConfig,
}

impl<D: TimelineDirectory> PageService<D> {
    /// A service for what `directory` finds.
    pub fn new(directory: Arc<D>, config: PageServiceConfig) -> Self {
        PageService { directory, config }
    }

    /// Serves until `cancel` fires, then waits for all connections to end.
    pub async fn serve(self, listener: TcpListener, cancel: CancellationToken) -> io::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            // Both futures are cancel safe.
            let accepted = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let span = tracing::info_span!("page_service_conn", peer_addr = %peer);
                    let (directory, config) = (self.directory.clone(), self.config.clone());
                    let token = cancel.child_token();
                    let connection = serve_connection(directory, config, socket, token);
                    connections.spawn(connection.instrument(span));
                }
                Err(error) => {
                    tracing::error!("accepting a page service connection failed: {error}");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
        Ok(())
    }
}

async fn serve_connection<D: TimelineDirectory>(
    directory: Arc<D>,
    config: PageServiceConfig,
    socket: TcpStream,
    cancel: CancellationToken,
) {
    let _live = LiveConnection::start();
    utils::pausable_failpoint!("ps::connection-start::pre-login");
    let backend = match PostgresBackend::new(socket, config.auth_type) {
        Ok(backend) => backend.with_tls(config.tls),
        Err(error) => {
            tracing::error!("setting up a page service connection failed: {error}");
            return;
        }
    };
    let mut handler = PageServiceHandler::new(directory, config.auth, cancel.clone());
    if let Err(error) = backend.run(&mut handler, &cancel).await {
        tracing::error!("Postgres query error: {:#}", anyhow::Error::new(error));
    }
}
