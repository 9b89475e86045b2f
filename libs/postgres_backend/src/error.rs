//! Errors of a connection and of the commands that run on it, and what the peer is told.

use std::borrow::Cow;
use std::io;

use pq_proto::{ProtocolError, sqlstate};

/// The conversation with the peer broke down.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The socket failed, or the peer was silent for too long.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer broke the protocol.
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
}

impl ConnectionError {
    /// Whether peers cause this by simply going away; such errors are not worth an alarm.
    pub fn is_expected(&self) -> bool {
        match self {
            Self::Io(error) => is_expected_io_error(error),
            Self::Protocol(_) => false,
        }
    }
}

/// Whether an I/O error is what a vanished or silent peer looks like.
pub fn is_expected_io_error(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut,
    };
    matches!(
        error.kind(),
        BrokenPipe | ConnectionRefused | ConnectionAborted | ConnectionReset | TimedOut
    )
}

/// Why a command failed. Decides what the client is told and whether the session goes on.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The connection itself failed.
    #[error(transparent)]
    Disconnected(#[from] ConnectionError),
    /// The client should connect again, perhaps elsewhere.
    #[error("server requested reconnect")]
    Reconnect,
    /// The daemon or the tenant is shutting down; nothing is sent.
    #[error("shutdown")]
    Shutdown,
    /// Something named in the command does not exist.
    #[error("not found: {0}")]
    NotFound(Cow<'static, str>),
    /// The token does not permit this.
    #[error("authentication failed: {0}")]
    Unauthorized(Cow<'static, str>),
    /// A failpoint asked for the connection to be dropped.
    #[error("Simulated Connection Error")]
    Simulated,
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl From<io::Error> for QueryError {
    fn from(error: io::Error) -> Self {
        Self::Disconnected(ConnectionError::Io(error))
    }
}

impl From<ProtocolError> for QueryError {
    fn from(error: ProtocolError) -> Self {
        Self::Disconnected(ConnectionError::Protocol(error))
    }
}

impl QueryError {
    /// The SQLSTATE of the reply.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Disconnected(_) | Self::Reconnect | Self::Simulated => {
                sqlstate::CONNECTION_FAILURE
            }
            Self::Shutdown => sqlstate::ADMIN_SHUTDOWN,
            Self::NotFound(_) | Self::Unauthorized(_) | Self::Other(_) => sqlstate::INTERNAL_ERROR,
        }
    }

    /// The text of the reply: nothing that only an authorised peer may know.
    pub fn reply_text(&self) -> String {
        match self {
            Self::Disconnected(error) => error.to_string(),
            Self::Reconnect => "reconnect".to_owned(),
            Self::Shutdown => "shutdown".to_owned(),
            Self::NotFound(_) => "not found".to_owned(),
            Self::Unauthorized(_) => "JWT authentication error".to_owned(),
            Self::Simulated => "simulated connection error".to_owned(),
            Self::Other(error) => format!("{error:#}"),
        }
    }

    /// Writes the one log line about a failed command.
    pub(crate) fn log(&self, query: &str) {
        match self {
            Self::Disconnected(error @ ConnectionError::Io(_)) if error.is_expected() => {
                tracing::info!(
                    "query handler for '{query}' failed with expected io error: {error}"
                );
            }
            Self::Disconnected(ConnectionError::Io(error)) => {
                tracing::error!("query handler for '{query}' failed with io error: {error}");
            }
            Self::Disconnected(ConnectionError::Protocol(error)) => {
                tracing::error!(
                    "query handler for '{query}' failed with connection error: {error}"
                );
            }
            Self::Reconnect => {
                tracing::info!("query handler for '{query}' requested client to reconnect");
            }
            Self::Shutdown => {
                tracing::info!("query handler for '{query}' cancelled during tenant shutdown");
            }
            Self::NotFound(reason) => {
                tracing::info!("query handler for '{query}' entity not found: {reason}");
            }
            Self::Unauthorized(reason) => {
                tracing::warn!(
                    "query handler for '{query}' failed with authentication error: {reason}"
                );
            }
            Self::Simulated => {
                tracing::error!(
                    "query handler for query '{query}' failed due to a simulated connection error"
                );
            }
            Self::Other(error) => {
                tracing::error!("query handler for '{query}' failed: {error:?}");
            }
        }
    }
}
