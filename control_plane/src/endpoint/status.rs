//! Whether an endpoint runs.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Endpoint;
use crate::ports::WantedPort;
use crate::process::runs_program;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// What can be seen of an endpoint from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointStatus {
    /// PostgreSQL has a pid file and listens.
    Running,
    /// Neither.
    Stopped,
    /// It has a pid file only.
    Crashed,
    /// It listens only.
    RunningNoPidfile,
}

impl fmt::Display for EndpointStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndpointStatus::Running => "running",
            EndpointStatus::Stopped => "stopped",
            EndpointStatus::Crashed => "crashed",
            EndpointStatus::RunningNoPidfile => "running, no pidfile",
        })
    }
}

impl Endpoint {
    /// Looks at the pid file and at the port.
    pub fn status(&self) -> EndpointStatus {
        let has_pid_file = self.pgdata().join("postmaster.pid").exists();
        let address = SocketAddr::from(([127, 0, 0, 1], self.conf.pg_port));
        let listens = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok();
        match (has_pid_file, listens) {
            (true, true) => EndpointStatus::Running,
            (false, false) => EndpointStatus::Stopped,
            (true, false) => EndpointStatus::Crashed,
            (false, true) => EndpointStatus::RunningNoPidfile,
        }
    }

    /// The process id of a live compute_ctl that this endpoint was started with.
    pub fn compute_ctl_pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.dir.join("compute_ctl.pid")).ok()?;
        let pid = text.trim().parse().ok()?;
        runs_program(pid, "compute_ctl").then_some(pid)
    }

    /// The process id of a live PostgreSQL in the data directory.
    pub fn postmaster_pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.pgdata().join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        runs_program(pid, "postgres").then_some(pid)
    }

    /// The ports it listens on.
    pub(super) fn ports(&self) -> Vec<WantedPort> {
        self.wanted_ports(&format!(
            "change pg_port or http_port in {}, and port in postgresql.conf beside it",
            self.dir.join("endpoint.json")
        ))
    }

    /// Those of its ports that were chosen for the user.
    pub(super) fn default_ports(
        &self,
        given_pg_port: Option<u16>,
        given_http_port: Option<u16>,
    ) -> Vec<WantedPort> {
        let given = [given_pg_port, given_http_port];
        let all = self.wanted_ports("give --pg-port and --http-port");
        let chosen = std::iter::zip(all, given).filter(|(_, given)| given.is_none());
        chosen.map(|(wanted, _)| wanted).collect()
    }

    fn wanted_ports(&self, remedy: &str) -> Vec<WantedPort> {
        let wanted = |port: u16, service: &str| WantedPort {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            purpose: format!("{service} of endpoint {}", self.conf.endpoint_id),
            remedy: remedy.to_owned(),
        };
        vec![
            wanted(self.conf.pg_port, "PostgreSQL"),
            wanted(self.conf.http_port, "the HTTP service"),
        ]
    }
}
