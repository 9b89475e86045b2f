//! Certificates made on the spot.

use camino::{Utf8Path, Utf8PathBuf};
use tls::authority::{Authority, CertificateFiles};

/// An authority of its own, and a certificate by it for the loopback address.
pub struct Certificates {
    _dir: tempfile::TempDir,
    pub files: CertificateFiles,
}

impl Certificates {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap();
        let authority = Authority::new("test authority").unwrap();
        let files = authority.issue(path, &["127.0.0.1"]).unwrap();
        Self { _dir: dir, files }
    }

    pub fn ca_file(&self) -> Utf8PathBuf {
        self.files.ca_file.clone()
    }

    /// Options of a safekeeper that encrypts everything and trusts nobody else.
    pub fn options(&self) -> Vec<String> {
        let CertificateFiles { ca_file, cert_file, key_file } = &self.files;
        vec![
            "--enable-tls-wal-service-api".to_owned(),
            "--listen-https=127.0.0.1:0".to_owned(),
            format!("--ssl-cert-file={cert_file}"),
            format!("--ssl-key-file={key_file}"),
            format!("--ssl-ca-file={ca_file}"),
        ]
    }
}
