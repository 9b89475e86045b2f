//! One connection: its socket halves, its state, and the reads and writes handlers use.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pq_proto::{BeMessage, FeMessage};
use tls::ServerTls;
use tokio::net::TcpStream;

use crate::copy::{CopyOutWriter, CopyStreamEnd};
use crate::error::ConnectionError;
use crate::socket;
use crate::stream::{BackendReader, BackendWriter};

/// A peer that sends nothing for this long is disconnected.
pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(600);

/// A client that asked for encryption and does not go through with it is disconnected.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthType {
    /// They need not.
    #[default]
    Trust,
    /// They send a JSON web token as the password.
    NeonJWT,
}

impl std::str::FromStr for AuthType {
    type Err = UnknownAuthType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "Trust" => Ok(Self::Trust),
            "NeonJWT" => Ok(Self::NeonJWT),
            other => Err(UnknownAuthType(other.to_owned())),
        }
    }
}

impl std::fmt::Display for AuthType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Trust => "Trust",
            Self::NeonJWT => "NeonJWT",
        })
    }
}

/// The text names no [`AuthType`].
#[derive(Debug, thiserror::Error)]
#[error("unknown authentication type {0:?}: expected Trust or NeonJWT")]
pub struct UnknownAuthType(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ConnectionState {
    Initialization,
    Authentication,
    Established,
    Closed,
}

/// The server's end of one connection.
#[derive(Debug)]
pub struct PostgresBackend {
    /// Absent while [`PostgresBackend::split`] lends them out, and for ever if they are dropped.
    pub(crate) halves: Option<(BackendReader, BackendWriter)>,
    pub(crate) state: ConnectionState,
    pub(crate) auth_type: AuthType,
    /// The unnamed prepared statement.
    pub(crate) prepared_query: Option<Bytes>,
    /// With it the client must ask for encryption first.
    pub(crate) tls: Option<ServerTls>,
    read_timeout: Duration,
    peer_addr: SocketAddr,
}

impl PostgresBackend {
    /// Takes over an accepted socket, with the default idle limit.
    pub fn new(socket: TcpStream, auth_type: AuthType) -> io::Result<Self> {
        Self::with_read_timeout(socket, auth_type, DEFAULT_READ_TIMEOUT)
    }

    /// Takes over an accepted socket. `read_timeout` limits the peer's silence.
    pub fn with_read_timeout(
        socket: TcpStream,
        auth_type: AuthType,
        read_timeout: Duration,
    ) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let peer_addr = socket.peer_addr()?;
        let (reader, writer) = socket::plain(socket);
        Ok(Self {
            halves: Some((BackendReader::new(reader, read_timeout), BackendWriter::new(writer))),
            state: ConnectionState::Initialization,
            auth_type,
            prepared_query: None,
            tls: None,
            read_timeout,
            peer_addr,
        })
    }

    /// With a certificate, clients must ask for encryption; without one, they are told that there
    /// is none.
    pub fn with_tls(self, tls: Option<ServerTls>) -> Self {
        Self { tls, ..self }
    }

    /// Whether the conversation is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.halves.as_ref().is_some_and(|(reader, _)| reader.socket.is_encrypted())
    }

    /// Encrypts the connection. Bytes that came before the client could know that it may would
    /// be somebody else's, put into the conversation from outside.
    pub(crate) async fn encrypt(&mut self, tls: &ServerTls) -> Result<(), ConnectionError> {
        let (reader, writer) = self.halves.take().ok_or_else(halves_missing)?;
        if reader.buffered_bytes() > 0 {
            let text = "unencrypted bytes follow the request for encryption".to_owned();
            return Err(pq_proto::ProtocolError::Unexpected(text).into());
        }
        let agreed = socket::encrypt((reader.socket, writer.socket), tls);
        let agreed = tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, agreed).await;
        let (reader, writer) = agreed.unwrap_or_else(|_| {
            let text = format!("no TLS session within {TLS_HANDSHAKE_TIMEOUT:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })?;
        let reader = BackendReader::new(reader, self.read_timeout);
        self.halves = Some((reader, BackendWriter::new(writer)));
        Ok(())
    }

    /// Address of the client.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// Whether the conversation is over.
    pub fn is_closed(&self) -> bool {
        self.state == ConnectionState::Closed
    }

    /// Adds a message to the output buffer.
    pub fn write_message(&mut self, message: &BeMessage<'_>) -> Result<&mut Self, ConnectionError> {
        self.writer()?.write_message(message)?;
        Ok(self)
    }

    /// Sends everything buffered. Cancel safe.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        Ok(self.writer()?.flush().await?)
    }

    /// The next message; `None` when the peer closed the connection. Cancel safe.
    pub async fn read_message(&mut self) -> Result<Option<FeMessage>, ConnectionError> {
        self.reader()?.read_message().await
    }

    /// The payload of the next CopyData, or how the stream ended. Cancel safe.
    pub async fn read_copy_message(&mut self) -> Result<Bytes, CopyStreamEnd> {
        self.reader()?.read_copy_message().await
    }

    /// A writer whose every write becomes one CopyData.
    pub fn copy_out_writer(&mut self) -> Result<CopyOutWriter<'_>, ConnectionError> {
        Ok(CopyOutWriter::new(self.writer()?))
    }

    /// Takes the two halves out, so that two tasks can work on a CopyBoth stream. Give them
    /// back with [`PostgresBackend::unsplit`]; without, the connection counts as closed.
    pub fn split(&mut self) -> Result<(BackendReader, BackendWriter), ConnectionError> {
        self.halves.take().ok_or_else(halves_missing)
    }

    /// Undoes [`PostgresBackend::split`].
    ///
    /// # Panics
    /// If the halves belong to different connections.
    pub fn unsplit(&mut self, reader: BackendReader, writer: BackendWriter) {
        assert!(
            reader.socket.is_pair_of(&writer.socket),
            "the halves must come from the same connection"
        );
        self.halves = Some((reader, writer));
    }

    /// Shuts the sending side down and marks the conversation as over.
    pub async fn close(&mut self) {
        self.state = ConnectionState::Closed;
        if let Some((_, writer)) = &mut self.halves
            && let Err(error) = writer.shutdown().await
        {
            tracing::debug!("could not shut the socket down: {error}");
        }
    }

    pub(crate) fn reader(&mut self) -> Result<&mut BackendReader, ConnectionError> {
        self.halves.as_mut().map(|(reader, _)| reader).ok_or_else(halves_missing)
    }

    pub(crate) fn writer(&mut self) -> Result<&mut BackendWriter, ConnectionError> {
        self.halves.as_mut().map(|(_, writer)| writer).ok_or_else(halves_missing)
    }
}

fn halves_missing() -> ConnectionError {
    let text = "the connection's halves are in use elsewhere or were dropped";
    io::Error::new(io::ErrorKind::NotConnected, text).into()
}
