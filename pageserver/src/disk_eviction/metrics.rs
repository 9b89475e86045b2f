//! Counters of eviction under disk pressure.

use std::sync::LazyLock;

use metrics::{Histogram, IntCounter, must, register_histogram, register_int_counter};

pub(super) static COLLECTION_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    must(register_histogram!(
        "pageserver_disk_usage_based_eviction_tenant_collection_seconds",
        "Seconds it takes to collect the layers of one tenant",
        vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]
    ))
});
pub(super) static TENANT_LAYERS: LazyLock<Histogram> = LazyLock::new(|| {
    must(register_histogram!(
        "pageserver_disk_usage_based_eviction_tenant_collected_layers",
        "Layers collected of one tenant",
        vec![5.0, 50.0, 500.0, 5000.0, 50000.0]
    ))
});
pub(super) static COLLECTED: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_disk_usage_based_eviction_collected_layers_total",
        "Layers that could have been evicted"
    ))
});
pub(super) static SELECTED: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_disk_usage_based_eviction_select_layers_total",
        "Layers that were chosen to be evicted"
    ))
});
pub(super) static EVICTED: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_disk_usage_based_eviction_evicted_layers_total",
        "Layers that were evicted"
    ))
});

/// Makes every series appear.
pub fn preinitialize() {
    for counter in [&COLLECTED, &SELECTED, &EVICTED] {
        LazyLock::force(counter);
    }
    for histogram in [&COLLECTION_SECONDS, &TENANT_LAYERS] {
        LazyLock::force(histogram);
    }
}
