use super::*;
use crate::config::parse_conf;

fn decide(text: &str) -> Result<Policy, PolicyError> {
    Policy::decide(parse_conf(text).unwrap(), ComputeMode::Primary)
}

fn kept(text: &str) -> Vec<(String, String)> {
    decide(text).unwrap().kept.into_iter().map(|s| (s.name, s.value)).collect()
}

#[test]
fn ordinary_settings_stand() {
    assert_eq!(kept("work_mem=4MB"), [("work_mem".to_owned(), "4MB".to_owned())]);
}

#[test]
fn settings_of_a_patched_server_are_dropped() {
    let policy = decide("neon.safekeepers='a:1'\nshared_preload_libraries=neon").unwrap();
    assert!(policy.kept.is_empty());
    assert_eq!(policy.dropped, ["neon.safekeepers", "shared_preload_libraries"]);
}

#[test]
fn other_libraries_stay_loaded() {
    let kept = kept("shared_preload_libraries='neon, pg_stat_statements'");
    assert_eq!(kept[0].1, "pg_stat_statements");
}

#[test]
fn lag_limits_become_ours() {
    let policy = decide("max_replication_write_lag=15MB\nmax_replication_flush_lag=10GB").unwrap();
    let expected = LagLimits { write_bytes: 15 << 20, flush_bytes: 10 << 30, apply_bytes: 0 };
    assert_eq!(policy.lag_limits, expected);
}

#[test]
fn a_bare_lag_limit_counts_megabytes_and_a_negative_one_means_none() {
    assert_eq!(decide("max_replication_write_lag=2").unwrap().lag_limits.write_bytes, 2 << 20);
    assert_eq!(decide("max_replication_write_lag=-1").unwrap().lag_limits.write_bytes, 0);
}

#[test]
fn a_lag_limit_that_is_no_size_is_named() {
    let error = decide("max_replication_write_lag=much").unwrap_err();
    assert!(error.to_string().contains("max_replication_write_lag"), "{error}");
}

#[test]
fn the_defaults_of_launchers_are_accepted() {
    decide(
        "max_wal_senders=10\nwal_log_hints=off\nmax_replication_slots=10\nhot_standby=on\n\
         shared_buffers=1MB\nfsync=off\nmax_connections=100\nwal_level=logical\n\
         wal_sender_timeout=5s\nlisten_addresses='127.0.0.1'\nport=55432\nwal_keep_size=0\n\
         restart_after_crash=off\nshared_preload_libraries=neon\n\
         synchronous_standby_names=walproposer",
    )
    .unwrap();
}

#[test]
fn every_refused_setting_is_named_with_a_reason() {
    let error = decide("synchronous_standby_names=''\narchive_mode=on\nport=1").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("synchronous_standby_names") && text.contains("archive_mode"), "{text}");
    assert!(!text.contains("port"), "{text}");
}

#[test]
fn too_few_wal_senders_are_raised() {
    assert_eq!(kept("max_wal_senders=3")[0].1, "10");
}

#[test]
fn tablespaces_stay_directories() {
    assert!(kept("allow_in_place_tablespaces=on").is_empty(), "it is on anyway");
    let error = decide("allow_in_place_tablespaces=off").unwrap_err().to_string();
    assert!(error.contains("allow_in_place_tablespaces"), "{error}");
}
