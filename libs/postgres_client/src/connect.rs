//! Where and as whom to connect.

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use pq_proto::startup::join_options;
use pq_proto::{ServerMessage, StartupPacket, StartupParameters};
use tls::{ClientTls, SslMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::auth::authenticate;
use crate::client::Client;
use crate::error::Error;
use crate::stream::{MessageReader, MessageWriter, from_tcp, from_tls, from_unix};

/// Limit for connecting and logging in together.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const DEFAULT_PORT: u16 = 5432;

/// Parameters of a connection. The password never appears in the `Debug` form.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Host name or address; a value that starts with `/` is the directory of a Unix socket.
    pub host: String,
    /// Port, also part of a Unix socket's name.
    pub port: u16,
    /// Role to log in as.
    pub user: String,
    /// Database.
    pub dbname: String,
    /// Password, or a token for our own daemons.
    pub password: Option<String>,
    /// Shown by the server in its views and logs.
    pub application_name: Option<String>,
    /// Words of the `options` parameter, unescaped.
    pub options: Vec<String>,
    /// Ask for a physical replication session.
    pub replication: bool,
    /// Limit for connecting and logging in together.
    pub connect_timeout: Duration,
    /// Whether and how to encrypt. Unix sockets never are.
    pub tls: ClientTls,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: DEFAULT_PORT,
            user: "no_user".to_owned(),
            dbname: "replication".to_owned(),
            password: None,
            application_name: None,
            options: Vec::new(),
            replication: false,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            tls: ClientTls::default(),
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("address", &self.address())
            .field("user", &self.user)
            .field("dbname", &self.dbname)
            .field("password", &self.password.as_ref().map(|_| "hidden"))
            .field("application_name", &self.application_name)
            .field("options", &self.options)
            .field("replication", &self.replication)
            .field("sslmode", &self.tls.mode)
            .finish_non_exhaustive()
    }
}

/// The text is neither `host:port` nor a `postgresql://` address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "invalid address {text:?}: {reason}; expected host:port or postgresql://user@host:port/dbname"
)]
pub struct ParseConnectOptionsError {
    /// The text, without its password.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl ConnectOptions {
    /// Options for a server at `host:port`, everything else at its default.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, ..Self::default() }
    }

    /// Reads `host:port`, `host`, or `postgresql://[user[:password]@]host[:port][/dbname][?...]`,
    /// of whose parameters `sslmode` and `sslrootcert` count.
    pub fn parse(text: &str) -> Result<Self, ParseConnectOptionsError> {
        let mut options = Self::default();
        let mut parameters = "";
        let (shown, rest) = match text.split_once("://") {
            Some(("postgresql" | "postgres", rest)) => {
                let (credentials, place) = rest.rsplit_once('@').unwrap_or(("", rest));
                let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
                if !user.is_empty() {
                    options.user = user.to_owned();
                }
                if !password.is_empty() {
                    options.password = Some(password.to_owned());
                }
                let (place, query) = place.split_once('?').unwrap_or((place, ""));
                parameters = query;
                let (place, dbname) = place.split_once('/').unwrap_or((place, ""));
                if !dbname.is_empty() {
                    options.dbname = dbname.to_owned();
                }
                (place, place)
            }
            Some(_) => ("", ""),
            None => (text, text),
        };
        let error = |reason| ParseConnectOptionsError { text: shown.to_owned(), reason };
        let (host, port) = split_host_port(rest).map_err(error)?;
        if host.is_empty() {
            return Err(error("it names no host"));
        }
        options.host = host.to_owned();
        options.port = port;
        for (name, value) in parameters.split('&').filter_map(|pair| pair.split_once('=')) {
            options.set_parameter(name, value).map_err(error)?;
        }
        Ok(options)
    }

    /// Parameters of libpq that this client has no use for are passed over.
    fn set_parameter(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "sslmode" => {
                self.tls.mode = value.parse().map_err(|_| {
                    "its sslmode is none of disable, prefer, require, verify-ca and verify-full"
                })?;
            }
            "sslrootcert" => self.tls.root_cert = Some(value.into()),
            _ => {}
        }
        Ok(())
    }

    /// `host:port`, or the path of the Unix socket.
    pub fn address(&self) -> String {
        if self.host.starts_with('/') {
            format!("{}/.s.PGSQL.{}", self.host, self.port)
        } else if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Connects and logs in.
    pub async fn connect(&self) -> Result<Client, Error> {
        let timeout = self.connect_timeout;
        tokio::time::timeout(timeout, self.connect_without_limit())
            .await
            .unwrap_or_else(|_| Err(Error::ConnectTimeout { address: self.address(), timeout }))
    }

    async fn connect_without_limit(&self) -> Result<Client, Error> {
        let (mut reader, mut writer) = self.open_socket().await?;
        self.startup_packet().write(&mut writer.buffer)?;
        writer.flush().await?;
        authenticate(&mut reader, &mut writer, self).await?;
        loop {
            match reader.next().await? {
                ServerMessage::ReadyForQuery => return Ok(Client::new(reader, writer)),
                ServerMessage::BackendKeyData { .. } => {}
                ServerMessage::ErrorResponse(report) => return Err(report.into()),
                other => {
                    let activity = "starting the session";
                    return Err(Error::Unexpected { message: other.name(), activity });
                }
            }
        }
    }

    async fn open_socket(&self) -> Result<(MessageReader, MessageWriter), Error> {
        let failed = |source| Error::Connect { address: self.address(), source };
        if self.host.starts_with('/') {
            let socket = UnixStream::connect(self.address()).await.map_err(failed)?;
            return Ok(from_unix(socket));
        }
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        match self.tls.mode {
            SslMode::Disable => Ok(from_tcp(socket)),
            SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                self.encrypt(socket).await
            }
        }
    }

    /// Asks the server for encryption, and agrees with it on a session.
    async fn encrypt(
        &self,
        mut socket: TcpStream,
    ) -> Result<(MessageReader, MessageWriter), Error> {
        let mut request = BytesMut::new();
        StartupPacket::SslRequest.write(&mut request)?;
        socket.write_all(&request).await?;
        // One byte and not more: what follows is part of the session.
        match (socket.read_u8().await?, self.tls.mode) {
            (b'S', _) => {}
            (b'N', SslMode::Prefer) => return Ok(from_tcp(socket)),
            (_, mode) => return Err(Error::NoTls { address: self.address(), mode }),
        }
        let unusable = |source| Error::Tls { address: self.address(), source: Box::new(source) };
        let connector = self.tls.connector().map_err(unusable)?;
        let name = ClientTls::server_name(&self.host).map_err(unusable)?;
        let session = connector.connect(name, socket).await;
        let failed = |source| Error::TlsHandshake { address: self.address(), source };
        Ok(from_tls(session.map_err(failed)?))
    }

    fn startup_packet(&self) -> StartupPacket {
        let options = join_options(&self.options);
        let application_name = self.application_name.as_deref().unwrap_or_default();
        let pairs = [
            ("user", self.user.as_str()),
            ("database", self.dbname.as_str()),
            ("client_encoding", "UTF8"),
            ("replication", if self.replication { "true" } else { "" }),
            ("application_name", application_name),
            ("options", options.as_str()),
        ];
        let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        let parameters = StartupParameters::from_pairs(given);
        StartupPacket::StartupMessage { major: 3, minor: 0, parameters }
    }
}

fn split_host_port(text: &str) -> Result<(&str, u16), &'static str> {
    let port = |digits: &str| digits.parse().map_err(|_| "its port is not a number below 65536");
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
        return match rest.strip_prefix(':') {
            Some(digits) => Ok((host, port(digits)?)),
            None if rest.is_empty() => Ok((host, DEFAULT_PORT)),
            None => Err("unexpected text after the bracket"),
        };
    }
    match text.rsplit_once(':') {
        Some((host, digits)) => Ok((host, port(digits)?)),
        None => Ok((text, DEFAULT_PORT)),
    }
}

#[cfg(test)]
mod tests;
