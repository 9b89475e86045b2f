//! HTTP to services on this machine.

use std::time::Duration;

use tls::authority::CertificateFiles;
use tls::{ClientTls, SslMode, TlsError};

use crate::process::Readiness;

/// Long enough for the slowest call, the creation of a timeline with initdb.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that ignores proxies from the environment: everything here is local.
pub fn client() -> reqwest::Result<reqwest::Client> {
    builder().build()
}

/// No HTTP client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The library refuses.
    #[error("could not set up an HTTP client: {0}")]
    Library(#[from] reqwest::Error),
    /// The cluster's certificates cannot be used.
    #[error("could not set up an HTTP client: {0}")]
    Tls(#[from] TlsError),
}

/// The same for services that may present these certificates.
pub fn client_trusting(
    certificates: Option<&CertificateFiles>,
) -> Result<reqwest::Client, ClientError> {
    let Some(files) = certificates else { return Ok(client()?) };
    let tls = ClientTls { mode: SslMode::VerifyFull, root_cert: Some(files.ca_file.clone()) };
    Ok(builder().use_preconfigured_tls(tls.config()?).build()?)
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT)
}

/// Asks a service whether it is up.
pub async fn check_status(http: &reqwest::Client, url: &str) -> Readiness {
    match http.get(url).timeout(STATUS_TIMEOUT).send().await {
        Ok(response) if response.status().is_success() => Readiness::Ready,
        // Some services listen before they can answer.
        Ok(response) if response.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE => {
            Readiness::NotYet
        }
        Ok(response) => Readiness::Failed(format!("GET {url} answered {}", response.status())),
        Err(_) => Readiness::NotYet,
    }
}
