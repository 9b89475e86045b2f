//! The WAL service: a libpq endpoint where proposers push WAL and others read it.
//!
//! [`command`] understands queries, [`handler`] answers them, [`receive`] and [`send`] are the
//! two streaming sessions. Nothing here touches files: that is the timeline's business.

pub mod command;
pub mod handler;
mod json_ctrl;
mod receive;
mod refusal;
mod replies;
mod send;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use postgres_backend::{AuthType, PostgresBackend};
use tls::ServerTls;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utils::auth::SharedJwtAuth;

use crate::timelines::Timelines;
use handler::{SafekeeperHandler, TokenPolicy};

/// Accepts connections until `cancel` fires or accepting fails for good.
#[derive(Debug)]
pub struct WalService {
    timelines: Arc<Timelines>,
    policy: TokenPolicy,
    tls: Option<ServerTls>,
    next_connection: AtomicU32,
}

impl WalService {
    /// A service that checks tokens against `keys`, and encrypts with `tls`, if there are any. With
    /// `tenant_only` tokens for the whole node are refused.
    pub fn new(
        timelines: Arc<Timelines>,
        keys: Option<SharedJwtAuth>,
        tls: Option<ServerTls>,
        tenant_only: bool,
    ) -> Arc<Self> {
        let policy = TokenPolicy { keys, tenant_only };
        Arc::new(Self { timelines, policy, tls, next_connection: AtomicU32::new(1) })
    }

    /// Serves `listener`.
    pub async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        cancel: CancellationToken,
    ) -> std::io::Result<()> {
        loop {
            // Accepting is cancel safe.
            let accepted = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => self.clone().spawn_connection(socket, cancel.clone()),
                Err(error) => {
                    // Too many open files, or a peer that is gone already: others go on.
                    tracing::warn!("cannot accept a connection to the WAL service: {error}");
                    tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                }
            }
        }
    }

    fn spawn_connection(self: Arc<Self>, socket: TcpStream, cancel: CancellationToken) {
        let conn_id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let span = tracing::info_span!(
            "connection",
            cid = conn_id,
            ttid = tracing::field::Empty,
            application_name = tracing::field::Empty
        );
        let serve = async move {
            if let Err(error) = self.serve(socket, conn_id, &cancel).await {
                tracing::error!("connection failed: {error:#}");
            }
        };
        tokio::spawn(serve.instrument(span));
    }

    async fn serve(
        &self,
        socket: TcpStream,
        conn_id: u32,
        cancel: &CancellationToken,
    ) -> anyhow::Result<()> {
        let peer = socket.peer_addr()?;
        let auth_type = match self.policy.keys {
            Some(_) => AuthType::NeonJWT,
            None => AuthType::Trust,
        };
        let backend = PostgresBackend::new(socket, auth_type)?.with_tls(self.tls.clone());
        let mut handler =
            SafekeeperHandler::new(self.timelines.clone(), self.policy.clone(), conn_id, peer);
        Ok(backend.run(&mut handler, cancel).await?)
    }
}

/// How long to wait before accepting again after a failure.
const ACCEPT_RETRY_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
