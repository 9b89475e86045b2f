//! TLS for all daemons and their clients: certificates from PEM files, and the modes of libpq.
//!
//! [`ServerTls`] is what a listener needs, [`ClientTls`] what a client does. Neither opens
//! sockets. The provider of the cryptography is ring.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

#[cfg(any(test, feature = "authority"))]
pub mod authority;
mod client;
mod error;
mod server;

pub use client::{ClientTls, SslMode, UnknownSslMode};
pub use error::TlsError;
pub use server::ServerTls;
pub use tokio_rustls::{
    TlsAcceptor, TlsConnector, client as client_stream, server as server_stream,
};

/// Protocols of a listener for HTTP/2 and HTTP/1.1, for [`ServerTls::load`].
pub const ALPN_HTTP2: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Protocols of an HTTP/1.1 listener, for [`ServerTls::load`].
pub const ALPN_HTTP1: &[&[u8]] = &[b"http/1.1"];
/// A listener for the PostgreSQL protocol, for [`ServerTls::load`].
pub const ALPN_POSTGRESQL: &[&[u8]] = &[b"postgresql"];

#[cfg(test)]
mod tests;
