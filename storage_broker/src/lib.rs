//! The storage broker: an in-memory publish/subscribe relay over gRPC.
//!
//! Safekeepers publish the state of their timelines about once a second; safekeepers and
//! pageservers subscribe. Nothing is stored and nothing is promised: each message is a full
//! snapshot that is soon repeated, and losing the broker loses no data.
//!
//! Other daemons use [`proto`], [`client`] and [`ids`]; the rest is the server.

pub mod client;
mod http;
pub mod ids;
mod message;
mod metrics;
pub mod proto;
mod registry;
pub mod server;
mod service;
mod subscription;

/// Where the broker listens unless told otherwise.
pub const DEFAULT_LISTEN_ADDR: &str = "127.0.0.1:50051";
/// Where clients find the broker unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:50051";
/// Default of both sides' HTTP/2 keepalive interval, in the form of options and
/// configuration files.
pub const DEFAULT_KEEPALIVE_INTERVAL: &str = "5000 ms";
