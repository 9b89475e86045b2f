//! Certificates made on the spot.

use camino::{Utf8Path, Utf8PathBuf};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A directory with `ca.crt`, and `server.crt` and `server.key` by it for the loopback address.
pub struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_cert = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.path().join("ca.crt"), authority_cert.pem()).unwrap();
        std::fs::write(dir.path().join("server.crt"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("server.key"), key.serialize_pem()).unwrap();
        Self { dir }
    }

    pub fn ca_file(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().join("ca.crt")
    }

    /// Options of a safekeeper that encrypts everything and trusts nobody else.
    pub fn options(&self) -> Vec<String> {
        let dir = self.dir.path().display();
        vec![
            "--enable-tls-wal-service-api".to_owned(),
            "--listen-https=127.0.0.1:0".to_owned(),
            format!("--ssl-cert-file={dir}/server.crt"),
            format!("--ssl-key-file={dir}/server.key"),
            format!("--ssl-ca-file={dir}/ca.crt"),
        ]
    }
}
