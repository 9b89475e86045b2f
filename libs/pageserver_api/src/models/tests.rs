use std::time::Duration;

use serde_json::{Map, Value, json};

use super::tenant_config::{AuxFilePolicy, EvictionPolicy};
use super::*;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[test]
fn the_defaults_print_as_documented() {
    let config = serde_json::to_value(TenantConfig::default()).unwrap();
    assert_eq!(config["pitr_interval"], "7days");
    assert_eq!(config["gc_period"], "1h");
    assert_eq!(config["compaction_period"], "20s");
    assert_eq!(config["checkpoint_distance"], 268_435_456);
    assert_eq!(config["eviction_policy"], json!({"kind": "NoEviction"}));
    assert_eq!(config["compaction_algorithm"], json!({"kind": "legacy"}));
    assert_eq!(config["min_resident_size_override"], Value::Null);
    assert_eq!(config["switch_aux_file_policy"], "v1");
}

#[test]
fn unset_options_are_left_out() {
    let overrides = TenantConfigOverrides {
        gc_period: Some(Duration::from_secs(20)),
        ..TenantConfigOverrides::default()
    };
    assert_eq!(serde_json::to_value(&overrides).unwrap(), json!({"gc_period": "20s"}));
    assert_eq!(overrides.merge(&TenantConfig::default()).gc_period, Duration::from_secs(20));
}

#[test]
fn null_counts_as_unset_and_unknown_options_are_ignored() {
    let options = object(json!({"gc_period": null, "gc_horizon": 7, "from_the_future": 1}));
    let overrides = TenantConfigOverrides::from_json(&options).unwrap();
    let expected =
        TenantConfigOverrides { gc_horizon: Some(7), ..TenantConfigOverrides::default() };
    assert_eq!(overrides, expected);
}

#[test]
fn an_ill_typed_option_is_named_in_the_error() {
    let options = object(json!({"gc_horizon": 7, "lagging_wal_timeout": "5a"}));
    let error = TenantConfigOverrides::from_json(&options).unwrap_err();
    assert!(
        error.starts_with("lagging_wal_timeout: invalid value: string \"5a\", expected a duration"),
        "{error}"
    );
}

#[test]
fn a_zero_wal_lag_is_refused() {
    let options = object(json!({"max_lsn_wal_lag": 0}));
    assert!(TenantConfigOverrides::from_json(&options).is_err());
}

#[test]
fn unknown_options_can_be_refused() {
    let keys = ["gc_period".to_owned(), "gc_perod".to_owned()];
    let error = TenantConfigOverrides::check_keys(keys.iter()).unwrap_err();
    assert!(error.to_string().contains("unknown field `gc_perod`"));
}

#[test]
fn the_external_form_has_every_key_and_whole_seconds() {
    let options = object(json!({"compaction_period": "1m 20s"}));
    let external = TenantConfigOverrides::from_json(&options).unwrap().to_external();
    assert_eq!(external.len(), TenantConfig::KEYS.len());
    assert_eq!(external["compaction_period"], "80s");
    assert_eq!(external["gc_period"], Value::Null);
}

#[test]
fn an_eviction_policy_carries_its_parameters() {
    let options = object(json!({
        "eviction_policy": {"kind": "LayerAccessThreshold", "period": "20s", "threshold": "1day"}
    }));
    let overrides = TenantConfigOverrides::from_json(&options).unwrap();
    let Some(EvictionPolicy::LayerAccessThreshold(parameters)) = overrides.eviction_policy else {
        panic!("{:?}", overrides.eviction_policy);
    };
    assert_eq!(parameters.threshold, Duration::from_secs(86400));
}

#[test]
fn aux_file_policies_ignore_case() {
    assert_eq!("CROSS-validation".parse(), Ok(AuxFilePolicy::CrossValidation));
    assert!("v3".parse::<AuxFilePolicy>().is_err());
}

#[test]
fn tenant_states_have_a_slug_and_data() {
    let cases = [
        (TenantState::Active, json!({"slug": "Active"})),
        (TenantState::Stopping {}, json!({"slug": "Stopping", "data": {}})),
        (
            TenantState::Activating(tenant::ActivatingFrom::Attaching),
            json!({"slug": "Activating", "data": "Attaching"}),
        ),
        (
            TenantState::broken("no index"),
            json!({"slug": "Broken", "data": {"reason": "no index", "backtrace": ""}}),
        ),
    ];
    for (state, expected) in cases {
        assert_eq!(serde_json::to_value(&state).unwrap(), expected);
        assert_eq!(serde_json::from_value::<TenantState>(expected).unwrap(), state);
    }
}

#[test]
fn the_attachment_status_of_a_broken_tenant_has_the_reason() {
    let status = TenantState::broken("no index").attachment_status();
    let expected = json!({"slug": "failed", "data": {"reason": "no index"}});
    assert_eq!(serde_json::to_value(status).unwrap(), expected);
}

#[test]
fn a_location_without_tenant_options_is_refused() {
    let text = r#"{"mode": "AttachedSingle", "generation": 1, "tenant_conf": null}"#;
    assert!(serde_json::from_str::<LocationConfig>(text).is_err());
    assert!(serde_json::from_str::<LocationConfig>(r#"{"mode": "Detached"}"#).is_err());
}

#[test]
fn a_location_with_unknown_fields_is_refused() {
    let text = r#"{"mode": "Detached", "tenant_conf": {}, "sharding": 1}"#;
    let error = serde_json::from_str::<LocationConfig>(text).unwrap_err();
    assert!(error.to_string().contains("unknown field `sharding`"));
}

#[test]
fn a_creation_request_defaults_to_version_15() {
    let text = r#"{"new_timeline_id": "11223344556677881122334455667788", "pg_version": null}"#;
    let request: TimelineCreateRequest = serde_json::from_str(text).unwrap();
    assert_eq!(request.pg_major().unwrap().number(), 15);
}
