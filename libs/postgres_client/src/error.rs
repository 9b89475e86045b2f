//! Everything that can go wrong on a client connection.

use std::io;
use std::time::Duration;

use pq_proto::ProtocolError;
use pq_proto::server_message::ServerReport;

/// Why a connection could not be made or a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to the server.
    #[error("could not connect to {address}: {source} (is it running, and is the address right?)")]
    Connect {
        /// `host:port` or the socket's path.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// TLS cannot be used as asked for.
    #[error("cannot connect to {address} with TLS: {source}")]
    Tls {
        /// `host:port`.
        address: String,
        /// What is wrong with the settings.
        source: Box<tls::TlsError>,
    },
    /// The server does not speak TLS, but must.
    #[error("{address} does not speak TLS, which sslmode {mode} insists on")]
    NoTls {
        /// `host:port`.
        address: String,
        /// What was asked for.
        mode: tls::SslMode,
    },
    /// The two did not agree on a session; most often the server's certificate is not trusted.
    #[error("no TLS session with {address}: {source}")]
    TlsHandshake {
        /// `host:port`.
        address: String,
        /// The reason.
        source: io::Error,
    },
    /// Connecting and logging in took too long.
    #[error("could not connect to {address} within {timeout:?}")]
    ConnectTimeout {
        /// `host:port` or the socket's path.
        address: String,
        /// The limit.
        timeout: Duration,
    },
    /// The socket failed later on.
    #[error("connection lost: {0}")]
    Io(#[from] io::Error),
    /// The server closed the connection in the middle of something.
    #[error("the server closed the connection unexpectedly")]
    Closed,
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// A valid message at the wrong time.
    #[error("unexpected {message} message from the server while {activity}")]
    Unexpected {
        /// Kind of message.
        message: &'static str,
        /// What this side was doing.
        activity: &'static str,
    },
    /// The server reported an error.
    #[error("{0}")]
    Server(Box<ServerReport>),
    /// Logging in is impossible with what the options contain.
    #[error("authentication failed: {0}")]
    Authentication(String),
    /// An earlier command on this connection was abandoned half-way.
    #[error("an earlier command was interrupted: this connection cannot be used any more")]
    Interrupted,
}

impl Error {
    /// The SQLSTATE, if the server reported the error.
    pub fn sqlstate(&self) -> Option<&str> {
        self.server_report().map(|report| report.sqlstate.as_str())
    }

    /// The server's report, if that is what this is.
    pub fn server_report(&self) -> Option<&ServerReport> {
        match self {
            Self::Server(report) => Some(report),
            _ => None,
        }
    }

    /// Whether a new attempt may succeed without anybody changing anything: the server was
    /// unreachable, went away, is still starting or has no session to spare.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::ConnectTimeout { .. } | Self::Io(_) | Self::Closed => true,
            Self::Server(report) => {
                // Classes 08 (connection), 53 (resources used up) and 57P (starting, stopping).
                ["08", "53", "57P"].iter().any(|class| report.sqlstate.starts_with(class))
            }
            Self::TlsHandshake { source, .. } => source.kind() != io::ErrorKind::InvalidData,
            Self::Protocol(_)
            | Self::Tls { .. }
            | Self::NoTls { .. }
            | Self::Unexpected { .. }
            | Self::Authentication(_)
            | Self::Interrupted => false,
        }
    }
}

impl From<ServerReport> for Error {
    fn from(report: ServerReport) -> Self {
        Self::Server(Box::new(report))
    }
}
