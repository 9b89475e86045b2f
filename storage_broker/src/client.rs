//! Connecting to the broker.

mod encrypted;

use std::time::Duration;

use camino::Utf8Path;
use tls::{ClientTls, SslMode, TlsError};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::proto::broker_service_client::BrokerServiceClient;

/// How long establishing a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that does not answer a PING for this long is gone.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A client of the broker. Clones share one connection, which carries any number of streams.
pub type BrokerClient = BrokerServiceClient<Channel>;

/// The endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a URI.
    #[error("invalid broker endpoint {endpoint:?}: {source}")]
    Uri {
        /// The text as given.
        endpoint: String,
        /// The reason.
        #[source]
        source: http::uri::InvalidUri,
    },
    /// Not a URI of a known scheme with a host.
    #[error("broker endpoint {0:?} cannot be used: give http://host:port or https://host:port")]
    Unsupported(Uri),
    /// Nobody is trusted to vouch for the broker, or the trusted certificates are unusable.
    #[error("broker endpoint {endpoint}: {source}")]
    Tls {
        /// The endpoint.
        endpoint: Uri,
        /// The reason.
        #[source]
        source: Box<TlsError>,
    },
}

/// Makes a client. Validates the endpoint only: the first request connects, and later ones
/// reconnect when the connection was lost. Must be called within an async runtime.
///
/// An `https` endpoint must present a certificate by one of `ca_file` (PEM, read again for each
/// connection) for the host that the endpoint names.
pub fn connect(
    endpoint: &str,
    keepalive_interval: Duration,
    ca_file: Option<&Utf8Path>,
) -> Result<BrokerClient, ConnectError> {
    let uri: Uri = endpoint
        .parse()
        .map_err(|source| ConnectError::Uri { endpoint: endpoint.to_owned(), source })?;
    let tls = match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => None,
        (Some("https"), Some(_)) => Some(trust(&uri, ca_file)?),
        _ => return Err(ConnectError::Unsupported(uri)),
    };
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(keepalive_interval)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        // Subscribers are silent for long, and must still notice a lost server.
        .keep_alive_while_idle(true);
    let channel = match tls {
        None => endpoint.connect_lazy(),
        Some(tls) => endpoint.connect_with_connector_lazy(encrypted::connector(tls)),
    };
    Ok(BrokerServiceClient::new(channel))
}

/// Whom to trust. Fails now rather than with every connection.
fn trust(endpoint: &Uri, ca_file: Option<&Utf8Path>) -> Result<ClientTls, ConnectError> {
    let failed =
        |source| ConnectError::Tls { endpoint: endpoint.clone(), source: Box::new(source) };
    let tls = ClientTls { mode: SslMode::VerifyFull, root_cert: ca_file.map(Utf8Path::to_owned) };
    tls.config().map_err(failed)?;
    ClientTls::server_name(encrypted::host(endpoint)).map_err(failed)?;
    Ok(tls)
}

#[cfg(test)]
mod tests;
