//! Metrics of WAL receivers, over all timelines.

use std::sync::LazyLock;

use metrics::{
    IntCounter, IntCounterVec, IntGauge, register_int_counter, register_int_counter_vec,
    register_int_gauge,
};

const UNIQUE: &str = "metric names are unique and valid";

pub(super) static STARTED_CONNECTIONS: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "pageserver_walreceiver_started_connections_total",
        "Number of started walreceiver connections"
    )
    .expect(UNIQUE)
});

pub(super) static ACTIVE_MANAGERS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "pageserver_walreceiver_active_managers",
        "Number of active walreceiver managers"
    )
    .expect(UNIQUE)
});

pub(super) static SWITCHES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "pageserver_walreceiver_switches_total",
        "Number of walreceiver manager change_connection calls",
        &["reason"]
    )
    .expect(UNIQUE)
});

pub(super) static BROKER_UPDATES: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "pageserver_walreceiver_broker_updates_total",
        "Number of received broker updates in walreceiver"
    )
    .expect(UNIQUE)
});

pub(super) static CANDIDATE_EVENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "pageserver_walreceiver_candidates_events_total",
        "Number of walreceiver candidate events",
        &["event"]
    )
    .expect(UNIQUE)
});
