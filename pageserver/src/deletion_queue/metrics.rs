//! Counters of the queue. In the long run what was submitted is dropped or executed.

use std::sync::LazyLock;

use metrics::{IntCounter, IntCounterVec, must, register_int_counter, register_int_counter_vec};

macro_rules! counters {
    ($( $name:ident = $metric:literal, $help:literal; )+) => {
        $(
            pub(super) static $name: LazyLock<IntCounter> =
                LazyLock::new(|| must(register_int_counter!($metric, $help)));
        )+

        /// Lets the counters appear before there is anything to count.
        pub fn preinitialize() {
            $( LazyLock::force(&$name); )+
            for kind in ["execute", "failpoint"] {
                REMOTE_ERRORS.with_label_values(&[kind]);
            }
        }
    };
}

counters! {
    SUBMITTED = "pageserver_deletion_queue_submitted_total", "Objects handed over for deletion";
    EXECUTED = "pageserver_deletion_queue_executed_total", "Objects deleted";
    VALIDATED = "pageserver_deletion_queue_validated_total",
        "Objects whose deletion was found to be asked for in a current generation";
    DROPPED = "pageserver_deletion_queue_dropped_total",
        "Objects not deleted because the generation that asked for it is stale";
    DROPPED_LSN_UPDATES = "pageserver_deletion_queue_dropped_lsn_updates_total",
        "Positions not published because their generation is stale";
    UNEXPECTED_ERRORS = "pageserver_deletion_queue_unexpected_errors_total",
        "Failures of the queue that should not happen";
}

pub(super) static REMOTE_ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_deletion_queue_remote_errors_total",
        "Failed deletion requests",
        &["op_kind"]
    ))
});
