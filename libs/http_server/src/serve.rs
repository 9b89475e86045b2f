//! The accept loop.

use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long requests under way may take once the server is to end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

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
