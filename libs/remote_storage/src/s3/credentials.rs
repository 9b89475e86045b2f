//! Credentials, and the HTTP clients that fetch them or carry requests.
//!
//! The usual chain: environment variables, profile files, web identity tokens, the metadata
//! service of the machine.

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::future::ProvideCredentials as ProvideFuture;
use aws_credential_types::provider::{ProvideCredentials, Result as CredentialsResult};
use aws_sdk_s3::config::{Region, SharedHttpClient};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::sync::OnceCell;

/// A client for the store. Plain HTTP needs no trust store, which takes a while to read.
pub(super) fn http_client(plain: bool) -> SharedHttpClient {
    match plain {
        true => Builder::new().build_http(),
        false => Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https(),
    }
}

/// The chain of providers, set up when credentials are first asked for.
#[derive(Debug)]
pub(super) struct Environment {
    region: Region,
    chain: OnceCell<DefaultCredentialsChain>,
}

impl Environment {
    pub(super) fn new(region: Region) -> Environment {
        Environment { region, chain: OnceCell::new() }
    }

    async fn credentials(&self) -> CredentialsResult {
        let build = || async {
            let config = ProviderConfig::empty()
                .with_http_client(http_client(false))
                .with_region(Some(self.region.clone()));
            DefaultCredentialsChain::builder().configure(config).build().await
        };
        self.chain.get_or_init(build).await.provide_credentials().await
    }
}

impl ProvideCredentials for Environment {
    fn provide_credentials<'a>(&'a self) -> ProvideFuture<'a>
    where
        Self: 'a,
    {
        ProvideFuture::new(self.credentials())
    }
}
