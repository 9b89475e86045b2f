//! The broker's metrics.

use std::sync::LazyLock;

use metrics::{IntCounter, IntGauge, register_int_counter, register_int_gauge};

macro_rules! metric {
    ($(#[$doc:meta])* $name:ident: $kind:ty = $register:ident($exposed:literal, $help:literal)) => {
        $(#[$doc])*
        pub(crate) static $name: LazyLock<$kind> = LazyLock::new(|| {
            $register!($exposed, $help).expect("the name is valid and registered once")
        });
    };
}

metric!(ACTIVE_PUBLISHERS: IntGauge = register_int_gauge(
    "storage_broker_active_publishers",
    "Number of open PublishSafekeeperInfo streams"
));
metric!(TIMELINE_SUBSCRIBERS: IntGauge = register_int_gauge(
    "storage_broker_per_timeline_active_subscribers",
    "Number of subscriptions to one timeline"
));
metric!(ALL_KEYS_SUBSCRIBERS: IntGauge = register_int_gauge(
    "storage_broker_all_keys_active_subscribers",
    "Number of subscriptions to all timelines"
));
metric!(PROCESSED: IntCounter = register_int_counter(
    "storage_broker_processed_messages_total",
    "Number of messages received, before they are handed to subscribers"
));
metric!(BROADCASTED: IntCounter = register_int_counter(
    "storage_broker_broadcasted_messages_total",
    "Number of messages handed to subscribers"
));
metric!(DROPPED: IntCounter = register_int_counter(
    "storage_broker_broadcast_dropped_messages_total",
    "Number of messages that subscribers skipped because they lagged behind"
));
metric!(PUBLISHED_ONEOFF: IntCounter = register_int_counter(
    "storage_broker_published_oneoff_messages_total",
    "Number of well-formed messages published by PublishOne"
));

/// Exposes all of them from the start, at zero.
pub(crate) fn register() {
    for gauge in [&ACTIVE_PUBLISHERS, &TIMELINE_SUBSCRIBERS, &ALL_KEYS_SUBSCRIBERS] {
        LazyLock::force(gauge);
    }
    for counter in [&PROCESSED, &BROADCASTED, &DROPPED, &PUBLISHED_ONEOFF] {
        LazyLock::force(counter);
    }
}
