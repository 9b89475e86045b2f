//! Giving a running endpoint another pageserver or other safekeepers.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ComputeMode, ComputeTarget, Endpoint, EndpointError};
use crate::config::LocalEnv;
use crate::local_http;

const TIMEOUT: Duration = Duration::from_secs(30);

impl Endpoint {
    /// Sends a changed spec to compute_ctl. The one on disk stays as it is.
    pub async fn reconfigure(
        &self,
        env: &LocalEnv,
        target: &ComputeTarget,
    ) -> Result<(), EndpointError> {
        let spec = self.changed_spec(env, target)?;
        let url = self.http_url("/configure");
        let http_error = |source| EndpointError::Http { url: url.clone(), source };
        let response = local_http::client()
            .map_err(http_error)?
            .post(&url)
            .timeout(TIMEOUT)
            .json(&json!({"spec": spec}))
            .send()
            .await
            .map_err(http_error)?;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            let text = response.text().await.map_err(http_error)?;
            return Err(EndpointError::ConfigureRefused(format!("{status}: {text}")));
        }
        Ok(())
    }

    fn changed_spec(&self, env: &LocalEnv, target: &ComputeTarget) -> Result<Value, EndpointError> {
        let invalid =
            |reason: String| EndpointError::Invalid { path: self.dir.join("spec.json"), reason };
        let text = self.read_text("spec.json")?;
        let mut spec: Value =
            serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        let fields =
            spec.as_object_mut().ok_or_else(|| invalid("it is not a JSON object".to_owned()))?;
        let pageservers = target.pageserver_connstring(env);
        fields.insert("pageserver_connstring".to_owned(), pageservers.into());
        if let Some(stripe_size) = target.shard_stripe_size {
            fields.insert("shard_stripe_size".to_owned(), stripe_size.into());
        }
        if target.safekeepers.is_some() && self.conf.mode == ComputeMode::Primary {
            let safekeepers = target.safekeeper_connstrings(env)?;
            fields.insert("safekeeper_connstrings".to_owned(), safekeepers.into());
        }
        let cluster = fields.get_mut("cluster").and_then(Value::as_object_mut);
        let cluster = cluster.ok_or_else(|| invalid("it has no cluster".to_owned()))?;
        let settings = self.read_text("postgresql.conf")?;
        cluster.insert("postgresql_conf".to_owned(), settings.into());
        Ok(spec)
    }
}
