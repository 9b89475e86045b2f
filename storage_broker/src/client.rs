//! Connecting to the broker.

use std::time::Duration;

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
    /// Not an `http` URI with a host.
    #[error(
        "broker endpoint {0:?} cannot be used: give http://host:port (TLS is not supported yet)"
    )]
    Unsupported(Uri),
}

/// Makes a client. Validates the endpoint only: the first request connects, and later ones
/// reconnect when the connection was lost. Must be called within an async runtime.
pub fn connect(endpoint: &str, keepalive_interval: Duration) -> Result<BrokerClient, ConnectError> {
    let uri: Uri = endpoint
        .parse()
        .map_err(|source| ConnectError::Uri { endpoint: endpoint.to_owned(), source })?;
    if uri.scheme_str() != Some("http") || uri.host().is_none() {
        return Err(ConnectError::Unsupported(uri));
    }
    let channel = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(keepalive_interval)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        // Subscribers are silent for long, and must still notice a lost server.
        .keep_alive_while_idle(true)
        .connect_lazy();
    Ok(BrokerServiceClient::new(channel))
}

#[cfg(test)]
mod tests;
