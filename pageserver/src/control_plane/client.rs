//! The two calls to the control plane.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use pageserver_api::shard::TenantShardId;
use pageserver_api::upcalls::{
    ReAttachRequest, ReAttachResponse, ValidateRequest, ValidateRequestTenant, ValidateResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use utils::{Generation, NodeId};

use super::{Authority, NoAnswer};
use crate::config::UpcallConfig;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Failures before the log says WARN.
const WARN_THRESHOLD: u32 = 3;
/// Pauses between attempts grow by this factor, in seconds, up to the maximum. The first is none.
const BACKOFF_BASE: f64 = 1.1;
const MAX_BACKOFF_SECONDS: f64 = 3.0;

/// Calls the control plane.
pub struct UpcallClient {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    node: NodeId,
    cancel: CancellationToken,
}

/// The answer to a call that names the tenants of this node.
pub(super) type Attachments = ReAttachResponse;

impl UpcallClient {
    /// A client, if a control plane is configured. Calls end when `cancel` fires.
    pub fn new(config: &UpcallConfig, node: NodeId, cancel: CancellationToken) -> Option<Self> {
        let base = config.api.clone()?;
        let token = config.api_token.as_ref().map(|token| token.reveal().to_owned());
        Some(UpcallClient { http: reqwest::Client::new(), base, token, node, cancel })
    }

    /// Asks what this node has, which also tells the control plane that it has started. `register` is
    /// how others reach it.
    pub(super) async fn re_attach(
        &self,
        register: Option<serde_json::Value>,
    ) -> Result<Attachments, NoAnswer> {
        utils::pausable_failpoint!("control-plane-client-re-attach");
        let request = ReAttachRequest { node_id: self.node, register };
        self.call("re-attach", &request).await
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        name: &str,
        request: &Q,
    ) -> Result<A, NoAnswer> {
        let mut failures = 0;
        loop {
            // The request may be dropped half-way: both calls can be repeated.
            let outcome = tokio::select! {
                outcome = self.attempt(name, request) => outcome,
                () = self.cancel.cancelled() => return Err(NoAnswer),
            };
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let what = "calling control plane generation validation API";
            if failures < WARN_THRESHOLD {
                tracing::info!("{what} failed, will retry (attempt {failures}): {name}: {error}");
            } else {
                tracing::warn!("{what} failed, will retry (attempt {failures}): {name}: {error}");
            }
            tokio::select! {
                () = tokio::time::sleep(pause(failures)) => {}
                () = self.cancel.cancelled() => return Err(NoAnswer),
            }
            failures += 1;
        }
    }

    async fn attempt<Q: Serialize, A: DeserializeOwned>(
        &self,
        name: &str,
        request: &Q,
    ) -> Result<A, reqwest::Error> {
        let mut call = self.http.post(format!("{}{name}", self.base)).timeout(ATTEMPT_TIMEOUT);
        if let Some(token) = &self.token {
            call = call.bearer_auth(token);
        }
        call.json(request).send().await?.error_for_status()?.json().await
    }
}

/// The pause after a failure, counted from 0.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => Duration::from_secs_f64(BACKOFF_BASE.powi(n.min(100) as i32).min(MAX_BACKOFF_SECONDS)),
    }
}

impl Authority for UpcallClient {
    fn validate<'a>(
        &'a self,
        asked: &'a BTreeMap<TenantShardId, Generation>,
    ) -> BoxFuture<'a, Result<BTreeMap<TenantShardId, Generation>, NoAnswer>> {
        Box::pin(async move {
            let tenants = asked.iter().filter_map(|(id, generation)| {
                Some(ValidateRequestTenant { id: *id, r#gen: generation.into_option()? })
            });
            let request = ValidateRequest { tenants: tenants.collect() };
            tokio::select! {
                () = validate_failpoint() => {}
                () = self.cancel.cancelled() => return Err(NoAnswer),
            }
            let answer: ValidateResponse = self.call("validate", &request).await?;
            let valid = answer.tenants.into_iter().filter(|tenant| tenant.valid);
            Ok(valid.filter_map(|tenant| Some((tenant.id, *asked.get(&tenant.id)?))).collect())
        })
    }
}

async fn validate_failpoint() {
    utils::sleep_failpoint!("control-plane-client-validate-sleep");
}

#[cfg(test)]
mod tests;
