//! Prometheus metrics: what every daemon registers, and how they are rendered.
//!
//! Metrics register themselves with the process-wide default registry through the
//! `register_*` macros, usually in a `LazyLock`. Names are the raw exposed names.

mod common;
mod render;

pub use prometheus;
pub use prometheus::core;
pub use prometheus::{
    Counter, CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramTimer,
    HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, exponential_buckets,
    linear_buckets, opts, register, register_counter, register_counter_vec, register_gauge,
    register_gauge_vec, register_histogram, register_histogram_vec, register_int_counter,
    register_int_counter_vec, register_int_gauge, register_int_gauge_vec,
};

pub use self::common::init;
pub use self::render::{CONTENT_TYPE, RenderError, render};

/// Prometheus' own default buckets, in seconds.
pub use prometheus::DEFAULT_BUCKETS;

/// The metric that a `register_*` macro made. Names are constants and registered once, so this
/// panics only for a mistake in the source, which every start meets.
pub fn must<T>(registered: Result<T, prometheus::Error>) -> T {
    registered.expect("a metric is registered once, under a valid name")
}

#[cfg(test)]
mod tests;
