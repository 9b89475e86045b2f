//! A listener's certificate, which can be replaced while it is in use.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::TlsError;

/// Certificate and key of a listener. Clones share them.
#[derive(Clone)]
pub struct ServerTls {
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("cert_file", &self.current.cert_file)
            .field("key_file", &self.current.key_file)
            .finish_non_exhaustive()
    }
}

/// What new connections are served with.
#[derive(Debug)]
struct Current {
    cert_file: Utf8PathBuf,
    key_file: Utf8PathBuf,
    certificate: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl ServerTls {
    /// Reads a certificate chain (the listener's own first) and its key, both PEM. `alpn` are the
    /// application protocols to offer.
    pub fn load(
        cert_file: &Utf8Path,
        key_file: &Utf8Path,
        alpn: &[&[u8]],
    ) -> Result<Self, TlsError> {
        let current = Arc::new(Current {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            certificate: RwLock::new(Arc::new(read(cert_file, key_file)?)),
        });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self { current, config: Arc::new(config) })
    }

    /// What turns an accepted socket into a TLS session.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// Reads the files again. New connections are served with what is in them now; after an
    /// error, with what they were served with before. Returns whether anything changed.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let new = read(&self.current.cert_file, &self.current.key_file)?;
        let mut certificate =
            self.current.certificate.write().unwrap_or_else(PoisonError::into_inner);
        let changed = certificate.cert != new.cert;
        *certificate = Arc::new(new);
        Ok(changed)
    }

    /// Reads the files again every `period`, until `cancel` fires.
    pub async fn keep_current(self, period: Duration, cancel: CancellationToken) {
        while cancel.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
            let reading = self.clone();
            let outcome = tokio::task::spawn_blocking(move || reading.reload()).await;
            match outcome {
                Ok(Ok(true)) => {
                    tracing::info!(
                        "new connections get the certificate in {}",
                        self.current.cert_file
                    );
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!("going on with the old certificate: {error}"),
                // The runtime is ending.
                Err(_) => return,
            }
        }
    }
}

fn read(cert_file: &Utf8Path, key_file: &Utf8Path) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates(cert_file)?;
    let what = "a private key";
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|source| TlsError::File {
        what,
        path: key_file.to_owned(),
        source,
    })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|source| TlsError::Certificate { path: cert_file.to_owned(), source })
}

/// Every certificate of a PEM file; at least one.
pub(crate) fn read_certificates(path: &Utf8Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificates";
    let failed = |source| TlsError::File { what, path: path.to_owned(), source };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    match certificates.is_empty() {
        true => Err(TlsError::Empty { what, path: path.to_owned() }),
        false => Ok(certificates),
    }
}
