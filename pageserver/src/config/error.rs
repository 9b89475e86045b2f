//! Why a configuration was refused. Messages name the key, the value and what is allowed.

use camino::Utf8PathBuf;

/// A configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A document is not TOML.
    #[error("{origin} is not valid TOML: {source}")]
    Syntax {
        /// The file or override.
        origin: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key that does not exist.
    #[error("unrecognized pageserver option '{key}' (value {value}); the options are: {known}")]
    Unrecognized {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// The keys that exist.
        known: String,
    },
    /// A value that is not allowed.
    #[error("failed to parse: '{key}': invalid value {value}: {reason}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// A key without a default.
    #[error("missing config value \"{0}\"")]
    Missing(&'static str),
    /// There is no place for objects.
    #[error(
        "no remote storage configured, this is a deprecated configuration: set the key \
         remote_storage, for example remote_storage = {{ local_path = '/var/lib/pageserver/remote' }} \
         or remote_storage = {{ bucket_name = 'pages', bucket_region = 'eu-central-1' }}"
    )]
    NoRemoteStorage,
    /// The key to check tokens with is not there.
    #[error("Can't find auth_validation_public_key at '{0}': authentication type NeonJWT needs it")]
    NoPublicKey(Utf8PathBuf),
}
