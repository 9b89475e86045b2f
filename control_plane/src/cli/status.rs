//! `neon_local status`: what runs, and where.

use std::process::ExitCode;

use camino::Utf8Path;
use utils::pid_file::{self, PidFileState};

use crate::config::LocalEnv;
use crate::endpoint::Endpoint;
use crate::{broker, pageserver, safekeeper};

pub(super) async fn show(env: &LocalEnv) -> anyhow::Result<ExitCode> {
    let mut table = super::borderless_table(["SERVICE", "STATUS", "PID", "ADDRESS"]);
    let mut daemon = |name: String, pid_file: &Utf8Path, address: String| -> anyhow::Result<()> {
        let (status, pid) = match pid_file::read(pid_file.as_std_path())? {
            PidFileState::Locked(pid) => ("running", pid.to_string()),
            PidFileState::Absent | PidFileState::Stale => ("stopped", String::new()),
        };
        table.add_row([name, status.to_owned(), pid, address]);
        Ok(())
    };
    let broker_address = env.config.broker.listen_addr.to_string();
    daemon("storage_broker".to_owned(), &broker::pid_file(env), broker_address)?;
    for conf in &env.pageservers {
        let address = format!("{} (http {})", conf.listen_pg_addr, conf.listen_http_addr);
        daemon(format!("pageserver {}", conf.id), &pageserver::pid_file(env, conf), address)?;
    }
    for conf in &env.config.safekeepers {
        let address = format!("{0}:{1} (http {0}:{2})", conf.host(), conf.pg_port, conf.http_port);
        daemon(format!("safekeeper {}", conf.id), &safekeeper::pid_file(env, conf), address)?;
    }
    for endpoint in Endpoint::list(env)? {
        let pid = endpoint.postmaster_pid().map(|pid| pid.to_string()).unwrap_or_default();
        table.add_row([
            format!("endpoint {}", endpoint.conf.endpoint_id),
            endpoint.status().to_string(),
            pid,
            endpoint.connstr("cloud_admin", "postgres"),
        ]);
    }
    super::print_all(&format!("{}\n", table.trim_fmt()))?;
    Ok(ExitCode::SUCCESS)
}
