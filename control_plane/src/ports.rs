//! Telling early, and with a way out, that a port is taken.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// A port that a service of ours wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPort {
    /// Where it will listen.
    pub address: SocketAddr,
    /// For what, such as `the WAL service of safekeeper 1`.
    pub purpose: String,
    /// How to choose another, such as `set pg_port of ... in ...`.
    pub remedy: String,
}

/// Something else listens there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "port {port} at {ip}, wanted for {purpose}, is already in use: stop what listens there, or \
     choose another port: {remedy}",
    port = .0.address.port(), ip = .0.address.ip(), purpose = .0.purpose, remedy = .0.remedy
)]
pub struct PortTaken(pub WantedPort);

/// Checks that one could listen on the port now. Other errors than "in use" are left for the
/// service itself to report.
pub fn check(wanted: WantedPort) -> Result<(), PortTaken> {
    match TcpListener::bind(wanted.address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(PortTaken(wanted)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
