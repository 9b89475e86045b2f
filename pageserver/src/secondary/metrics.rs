//! Counters of heatmap uploads and of downloads by secondary locations.

use std::sync::LazyLock;

use metrics::{
    DEFAULT_BUCKETS, Histogram, IntCounter, must, register_histogram, register_int_counter,
};

pub(super) static UPLOADS: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!("pageserver_secondary_upload_heatmap", "Heatmaps uploaded"))
});
pub(super) static UPLOAD_ERRORS: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_secondary_upload_heatmap_errors",
        "Failed attempts to upload a heatmap"
    ))
});
pub(super) static UPLOAD_DURATION: LazyLock<Histogram> = LazyLock::new(|| {
    must(register_histogram!(
        "pageserver_secondary_upload_heatmap_duration",
        "Seconds it takes to make and upload a heatmap",
        DEFAULT_BUCKETS.to_vec()
    ))
});
pub(super) static HEATMAP_DOWNLOADS: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_secondary_download_heatmap",
        "Heatmaps that secondary locations asked for, changed or not"
    ))
});
pub(super) static LAYER_DOWNLOADS: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_secondary_download_layer",
        "Layers that secondary locations downloaded"
    ))
});

/// Makes every series appear.
pub fn preinitialize() {
    for counter in [&UPLOADS, &UPLOAD_ERRORS, &HEATMAP_DOWNLOADS, &LAYER_DOWNLOADS] {
        LazyLock::force(counter);
    }
    LazyLock::force(&UPLOAD_DURATION);
}
