//! An authority made on the spot, and certificates by it: for clusters on one machine and for
//! tests. Its key is never stored, so that nobody can issue more in its name.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Certificates cannot be made or stored.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A name that no certificate can be for, or the library refuses.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// Where an authority's certificate, and a listener's certificate and key by it, are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// What clients trust.
    pub ca_file: Utf8PathBuf,
    /// What a listener presents.
    pub cert_file: Utf8PathBuf,
    /// The key to it.
    pub key_file: Utf8PathBuf,
}

impl CertificateFiles {
    /// `ca.crt`, `server.crt` and `server.key` in `dir`.
    pub fn within(dir: &Utf8Path) -> Self {
        let [ca_file, cert_file, key_file] =
            ["ca.crt", "server.crt", "server.key"].map(|name| dir.join(name));
        Self { ca_file, cert_file, key_file }
    }
}

impl Authority {
    /// A new one, called `name` in its certificate.
    pub fn new(name: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// Stores its certificate, and a certificate for `names` (host names and addresses) with its
    /// key, in the existing directory `dir`. Replaces older ones.
    pub fn issue(
        &self,
        dir: &Utf8Path,
        names: &[&str],
    ) -> Result<CertificateFiles, AuthorityError> {
        let files = CertificateFiles::within(dir);
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        write(&files.ca_file, &self.certificate_pem, 0o644)?;
        write(&files.cert_file, &certificate.pem(), 0o644)?;
        write(&files.key_file, &key.serialize_pem(), 0o600)?;
        Ok(files)
    }
}

fn write(path: &Utf8Path, text: &str, mode: u32) -> Result<(), AuthorityError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| AuthorityError::Write { path: path.to_owned(), source })
}
