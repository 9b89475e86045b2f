//! What all timelines of one safekeeper share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::archive::WalArchive;
use crate::auth::SecretToken;
use crate::config::Config;
use crate::runtimes::Roles;
use crate::timelines_set::TimelinesSet;

/// Settings, the archive, and the limits that hold for the whole process.
#[derive(Debug)]
pub struct Node {
    /// What the daemon runs with.
    pub config: Config,
    /// Where WAL goes, if anywhere.
    pub archive: Option<Arc<WalArchive>>,
    /// The timelines that the broker hears of.
    pub active: Arc<TimelinesSet>,
    /// Bounds concurrent uploads of partial segments.
    pub partial_uploads: Semaphore,
    /// HTTP connections to other safekeepers.
    pub http: reqwest::Client,
    /// Presented to other safekeepers.
    pub token: Option<SecretToken>,
    /// Where what runs, whoever starts it.
    pub roles: Roles,
}

impl Node {
    /// A node that archives WAL in `archive`, if there is one, and reaches others through `http`.
    pub fn new(
        config: Config,
        archive: Option<Arc<WalArchive>>,
        http: reqwest::Client,
        token: Option<SecretToken>,
        roles: Roles,
    ) -> Arc<Self> {
        let partial_uploads = Semaphore::new(config.partial_backup_concurrency);
        Arc::new(Self {
            config,
            archive,
            active: Arc::default(),
            partial_uploads,
            http,
            token,
            roles,
        })
    }

    /// The HTTP API of the safekeeper at `base_url`.
    pub fn peer(&self, base_url: &str) -> safekeeper_api::client::Client {
        let token = self.token.as_ref().map(|token| token.0.clone());
        safekeeper_api::client::Client::new(self.http.clone(), base_url, token)
    }
}
