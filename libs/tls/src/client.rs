//! How a client speaks TLS: the modes that libpq knows, and whom to trust.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use camino::Utf8PathBuf;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_rustls::TlsConnector;

use crate::TlsError;
use crate::server::read_certificates;

/// How much a client insists on. As libpq's `sslmode`, without `allow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypt.
    #[default]
    Disable,
    /// Encrypt if the server can. Protects from nobody who can change what is sent.
    Prefer,
    /// Encrypt. With certificates to trust the server's must come from one of them; without, any
    /// will do.
    Require,
    /// Encrypt, and the server's certificate must come from one that is trusted.
    VerifyCa,
    /// That, and it must be for the host that was asked for.
    VerifyFull,
}

impl SslMode {
    /// The name that libpq uses.
    pub fn name(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no [`SslMode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown sslmode {0:?}: known are disable, prefer, require, verify-ca and verify-full")]
pub struct UnknownSslMode(pub String);

impl FromStr for SslMode {
    type Err = UnknownSslMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use SslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
        let known = [Disable, Prefer, Require, VerifyCa, VerifyFull];
        let found = known.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| UnknownSslMode(text.to_owned()))
    }
}

/// What a client of one server wants. The files are read for each connection, so that replaced
/// ones count at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// How much it insists on.
    pub mode: SslMode,
    /// PEM file of the certificates to trust (libpq's `sslrootcert`).
    pub root_cert: Option<Utf8PathBuf>,
}

impl ClientTls {
    /// What turns a connected socket into a TLS session.
    pub fn connector(&self) -> Result<TlsConnector, TlsError> {
        Ok(TlsConnector::from(Arc::new(self.config()?)))
    }

    /// The library's configuration, for clients that connect by themselves.
    pub fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self.trusted(&provider)? {
            Some(trusted) if self.mode == SslMode::VerifyFull => trusted,
            trusted => Arc::new(AnyName { provider: provider.clone(), trusted }),
        };
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth())
    }

    /// The name that a certificate must be for.
    pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
        ServerName::try_from(host.to_owned()).map_err(|_| TlsError::HostName(host.to_owned()))
    }

    fn trusted(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<WebPkiServerVerifier>>, TlsError> {
        let Some(path) = &self.root_cert else {
            return match self.mode {
                SslMode::VerifyCa | SslMode::VerifyFull => Err(TlsError::NoTrust(self.mode)),
                SslMode::Disable | SslMode::Prefer | SslMode::Require => Ok(None),
            };
        };
        let refused = |reason: String| TlsError::Trust { path: path.clone(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(path)? {
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        verifier.build().map(Some).map_err(|error| refused(error.to_string()))
    }
}

/// Does not look at the name, and at where the certificate comes from only if there is somebody
/// to trust.
#[derive(Debug)]
struct AnyName {
    provider: Arc<CryptoProvider>,
    trusted: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        match trusted.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            // The name is looked at last, when everything else is in order.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
