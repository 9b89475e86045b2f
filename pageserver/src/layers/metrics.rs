//! Counters of the life of layer files: downloads, evictions and deletions, all tenants together.

use std::sync::LazyLock;

use metrics::{
    Histogram, IntCounter, IntCounterVec, must, register_histogram, register_int_counter,
    register_int_counter_vec,
};

/// Declares plain counters.
macro_rules! counters {
    ($( $name:ident = $metric:literal, $help:literal; )+) => {
        $( pub static $name: LazyLock<IntCounter> =
            LazyLock::new(|| must(register_int_counter!($metric, $help))); )+

        fn force_counters() {
            $( LazyLock::force(&$name); )+
        }
    };
}

counters! {
    STARTED_EVICTIONS = "pageserver_layer_started_evictions", "Evictions of layers that began";
    COMPLETED_EVICTIONS = "pageserver_layer_completed_evictions", "Evictions of layers that removed the file";
    STARTED_DELETES = "pageserver_layer_started_deletes", "Layers that became garbage";
    COMPLETED_DELETES = "pageserver_layer_completed_deletes", "Layers whose file is removed and whose object is scheduled for deletion";
    INITS_CANCELLED = "pageserver_layer_inits_cancelled_count", "Requesters that gave up while a layer was brought here";
    UNEXPECTED_DOWNLOADS = "pageserver_unexpected_ondemand_downloads_count", "Downloads on behalf of tasks that should not need any";
    DOWNLOADED_LAYERS = "pageserver_remote_ondemand_downloaded_layers_total", "Layers downloaded on demand";
    DOWNLOADED_BYTES = "pageserver_remote_ondemand_downloaded_bytes_total", "Bytes of layers downloaded on demand";
}

static CANCELLED_EVICTIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_layer_cancelled_evictions_count",
        "Evictions of layers that did not remove the file",
        &["reason"]
    ))
});
static FAILED_DELETES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_layer_failed_deletes_count",
        "Garbage layers whose objects could not be scheduled for deletion",
        &["reason"]
    ))
});
static RARE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_layer_assumed_rare_count",
        "Events in the life of layers that should be rare",
        &["event"]
    ))
});
/// Seconds between an eviction and the download that undid it.
pub static REDOWNLOADED_AFTER: LazyLock<Histogram> = LazyLock::new(|| {
    must(register_histogram!(
        "pageserver_layer_redownloaded_after",
        "Seconds between an eviction and the next download of the layer",
        vec![10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 43200.0]
    ))
});
/// Seconds for which the removal of a file kept readers waiting.
pub static EVICTION_HELD_PERMIT: LazyLock<Histogram> = LazyLock::new(|| {
    must(register_histogram!(
        "pageserver_layer_eviction_held_permit_seconds",
        "Seconds for which an eviction kept the layer from being brought back",
        vec![0.001, 0.01, 0.1, 0.5, 1.0, 5.0]
    ))
});

/// Why a file was not removed after all.
#[derive(Clone, Copy, Debug)]
pub enum EvictionCancelled {
    /// The timeline is shutting down.
    TimelineGone,
    /// The layer was brought back, and evicted again, in the mean time.
    VersionCheckFailed,
    /// The file had gone already.
    FileNotFound,
    /// The file could not be removed.
    RemoveFailed,
    /// The layer was brought back while the removal waited.
    LostToDownload,
    /// A reader kept the file.
    UpgradedBackOnAccess,
}

impl EvictionCancelled {
    const ALL: [EvictionCancelled; 6] = [
        EvictionCancelled::TimelineGone,
        EvictionCancelled::VersionCheckFailed,
        EvictionCancelled::FileNotFound,
        EvictionCancelled::RemoveFailed,
        EvictionCancelled::LostToDownload,
        EvictionCancelled::UpgradedBackOnAccess,
    ];

    fn label(self) -> &'static str {
        match self {
            EvictionCancelled::TimelineGone => "timeline_gone",
            EvictionCancelled::VersionCheckFailed => "version_check_fail",
            EvictionCancelled::FileNotFound => "file_not_found",
            EvictionCancelled::RemoveFailed => "remove_failed",
            EvictionCancelled::LostToDownload => "lost_to_download",
            EvictionCancelled::UpgradedBackOnAccess => "upgraded_back_on_access",
        }
    }

    /// Counts it.
    pub fn count(self) {
        CANCELLED_EVICTIONS.with_label_values(&[self.label()]).inc();
    }
}

/// Things that should hardly ever happen.
#[derive(Clone, Copy, Debug)]
pub enum RareEvent {
    /// The file of a garbage layer could not be removed.
    RemoveOnDropFailed,
    /// A download that nobody waits for any more ended well.
    InitCompletedWithoutRequester,
    /// A download that nobody waits for any more failed.
    DownloadFailedWithoutRequester,
    /// A file that should have been absent was there.
    InitNeededNoDownload,
    /// A file can never be read.
    PermanentLoadingFailure,
}

impl RareEvent {
    const ALL: [RareEvent; 5] = [
        RareEvent::RemoveOnDropFailed,
        RareEvent::InitCompletedWithoutRequester,
        RareEvent::DownloadFailedWithoutRequester,
        RareEvent::InitNeededNoDownload,
        RareEvent::PermanentLoadingFailure,
    ];

    fn label(self) -> &'static str {
        match self {
            RareEvent::RemoveOnDropFailed => "remove_on_drop_failed",
            RareEvent::InitCompletedWithoutRequester => "init_completed_without",
            RareEvent::DownloadFailedWithoutRequester => "download_failed_without",
            RareEvent::InitNeededNoDownload => "init_needed_no_download",
            RareEvent::PermanentLoadingFailure => "permanent_loading_failure",
        }
    }

    /// Counts it.
    pub fn count(self) {
        RARE.with_label_values(&[self.label()]).inc();
    }
}

/// The deletion of a garbage layer's object could not be scheduled.
pub fn count_failed_delete() {
    FAILED_DELETES.with_label_values(&["delete_scheduling_failed"]).inc();
}

/// Makes every series appear, so that rates and "must be zero" checks work from the start.
pub fn preinitialize() {
    force_counters();
    for reason in EvictionCancelled::ALL {
        CANCELLED_EVICTIONS.with_label_values(&[reason.label()]);
    }
    for event in RareEvent::ALL {
        RARE.with_label_values(&[event.label()]);
    }
    for reason in ["timeline_gone", "delete_scheduling_failed"] {
        FAILED_DELETES.with_label_values(&[reason]);
    }
    LazyLock::force(&REDOWNLOADED_AFTER);
    LazyLock::force(&EVICTION_HELD_PERMIT);
}
