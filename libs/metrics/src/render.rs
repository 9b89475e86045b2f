//! The text exposition format.

use std::sync::LazyLock;

use prometheus::{IntCounter, TextEncoder, register_int_counter};

/// Value of the `Content-Type` header of [`render`]'s output.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// The registered metrics contradict each other, which is a bug.
#[derive(Debug, thiserror::Error)]
#[error("could not render metrics: {0}")]
pub struct RenderError(#[from] prometheus::Error);

static SCRAPES: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "libmetrics_metric_handler_requests_total",
        "Number of metric requests made"
    )
    .expect("the metric is registered once, with a valid name")
});

/// All registered metrics as text. Costs CPU: async callers run it on the blocking pool.
pub fn render() -> Result<String, RenderError> {
    SCRAPES.inc();
    Ok(TextEncoder::new().encode_to_string(&prometheus::gather())?)
}
