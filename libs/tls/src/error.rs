//! Why TLS cannot be used as configured.

use camino::Utf8PathBuf;

/// A key, a certificate or a mode that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("cannot read {what} from {path}: {source}")]
    File {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        source: rustls::pki_types::pem::Error,
    },
    /// A PEM file without what is looked for.
    #[error("{path} has no {what}")]
    Empty {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: Utf8PathBuf,
    },
    /// Key and certificate do not fit, or are of a kind that is not supported.
    #[error("cannot use the certificate in {path}: {source}")]
    Certificate {
        /// The certificate's file.
        path: Utf8PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// The certificates to trust cannot be used.
    #[error("cannot trust the certificates in {path}: {reason}")]
    Trust {
        /// Their file.
        path: Utf8PathBuf,
        /// The cause.
        reason: String,
    },
    /// A mode that verifies needs to know whom to trust.
    #[error("sslmode {0} needs a file of certificates to trust (sslrootcert)")]
    NoTrust(super::SslMode),
    /// The library refuses.
    #[error("cannot set up TLS: {0}")]
    Library(#[from] rustls::Error),
    /// A name that no certificate can be for.
    #[error("no certificate can be for the host name {0:?}")]
    HostName(String),
}
