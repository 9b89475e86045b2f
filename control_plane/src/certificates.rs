//! Certificates of a cluster that encrypts (`generate_local_ssl_certs`): an authority made by
//! `init`, whose key is not kept, and one certificate by it that all daemons present.

use camino::{Utf8Path, Utf8PathBuf};
use tls::authority::{Authority, AuthorityError, CertificateFiles};
use tls::{ClientTls, SslMode};

use crate::config::{LocalEnv, PageserverConf, RepoConfig};

const AUTHORITY_NAME: &str = "neon_local";
/// What daemons on this machine are called unless configured otherwise.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where they are kept.
pub fn directory(repo_dir: &Utf8Path) -> Utf8PathBuf {
    repo_dir.join("certificates")
}

/// Makes them for all hosts that daemons are found at. The directory must exist.
pub fn issue(
    repo_dir: &Utf8Path,
    config: &RepoConfig,
    pageservers: &[PageserverConf],
) -> Result<CertificateFiles, AuthorityError> {
    let broker = config.broker.listen_addr.ip().to_string();
    let mut names: Vec<&str> = LOCAL_NAMES.into();
    names.push(&broker);
    names.extend(config.safekeepers.iter().map(|safekeeper| safekeeper.host()));
    names.extend(pageservers.iter().map(|pageserver| pageserver.pg_host_port().0));
    names.sort_unstable();
    names.dedup();
    Authority::new(AUTHORITY_NAME)?.issue(&directory(repo_dir), &names)
}

impl LocalEnv {
    /// The certificates, if the cluster encrypts.
    pub fn certificates(&self) -> Option<CertificateFiles> {
        let encrypts = self.config.generate_local_ssl_certs;
        encrypts.then(|| CertificateFiles::within(&directory(&self.repo_dir)))
    }

    /// How to connect to page and WAL services.
    pub fn client_tls(&self) -> ClientTls {
        match self.certificates() {
            None => ClientTls::default(),
            Some(files) => ClientTls { mode: SslMode::VerifyFull, root_cert: Some(files.ca_file) },
        }
    }

    /// The address of a page or WAL service, for `compute_ctl`.
    pub(crate) fn service_connstring(&self, user: &str, host: &str, port: u16) -> String {
        let ClientTls { mode, root_cert } = self.client_tls();
        match root_cert {
            None => format!("postgresql://{user}@{host}:{port}"),
            Some(ca_file) => {
                format!("postgresql://{user}@{host}:{port}?sslmode={mode}&sslrootcert={ca_file}")
            }
        }
    }
}
