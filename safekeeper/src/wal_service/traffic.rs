//! Counting the bytes a connection carries.

use metrics::IntCounter;

use crate::metrics::PG_IO_BYTES;

const UNKNOWN: &str = "unknown";

/// The traffic counters of one connection.
#[derive(Clone, Debug)]
pub struct Traffic {
    read: IntCounter,
    written: IntCounter,
}

impl Traffic {
    /// Counters of a connection between these availability zones.
    pub fn new(client_az: Option<&str>, own_az: Option<&str>, appname: Option<&str>) -> Self {
        let same_az = match (client_az, own_az) {
            (Some(client), Some(own)) if client == own => "true",
            (Some(_), Some(_)) => "false",
            (None, _) | (_, None) => UNKNOWN,
        };
        let counter = |direction| {
            PG_IO_BYTES.with_label_values(&[
                client_az.unwrap_or(UNKNOWN),
                own_az.unwrap_or(UNKNOWN),
                appname.unwrap_or(UNKNOWN),
                direction,
                same_az,
            ])
        };
        Self { read: counter("read"), written: counter("write") }
    }

    /// So many bytes came in.
    pub fn count_read(&self, bytes: usize) {
        self.read.inc_by(bytes as u64);
    }

    /// So many bytes went out.
    pub fn count_written(&self, bytes: usize) {
        self.written.inc_by(bytes as u64);
    }
}
