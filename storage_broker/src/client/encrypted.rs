//! Connections over TLS. What to trust is read for each, so that a replaced file counts at once.

use std::io;
use std::sync::Arc;

use http::Uri;
use hyper_util::rt::TokioIo;
use tls::client_stream::TlsStream;
use tls::{ClientTls, TlsConnector};
use tokio::net::TcpStream;
use tower::Service;

const DEFAULT_PORT: u16 = 443;

type Session = TokioIo<TlsStream<TcpStream>>;

/// What opens a connection to the host of a URI.
pub(super) fn connector(
    tls: ClientTls,
) -> impl Service<Uri, Response = Session, Error = io::Error, Future: Send> + Send + 'static {
    tower::service_fn(move |uri: Uri| {
        let tls = tls.clone();
        async move { connect(&tls, &uri).await.map(TokioIo::new) }
    })
}

/// The host of a URI, an IPv6 address without its brackets.
pub(super) fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

async fn connect(tls: &ClientTls, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
    let mut config = tls.config().map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ClientTls::server_name(host(uri)).map_err(io::Error::other)?;
    let socket = TcpStream::connect((host(uri), uri.port_u16().unwrap_or(DEFAULT_PORT))).await?;
    socket.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}
