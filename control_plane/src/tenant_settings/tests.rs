use pageserver_api::models::TenantConfig;

use super::*;

fn parse_words(words: &[&str]) -> Result<TenantConfigOverrides, SettingError> {
    parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

#[test]
fn values_of_every_kind_are_read() {
    let options = parse_words(&[
        "gc_horizon:1024",
        "lazy_slru_download:true",
        "gc_period:1h",
        "switch_aux_file_policy:v2",
        r#"eviction_policy:{"kind":"LayerAccessThreshold","period":"1s","threshold":"2s"}"#,
        "ignored because it has no colon",
    ])
    .unwrap();
    assert_eq!(options.gc_horizon, Some(1024));
    assert_eq!(options.lazy_slru_download, Some(true));
    assert_eq!(options.gc_period, Some(std::time::Duration::from_secs(3600)));
    assert!(options.eviction_policy.is_some());
    assert!(options.switch_aux_file_policy.is_some());
}

#[test]
fn every_tenant_option_has_a_kind() {
    for key in TenantConfig::KEYS {
        assert!(kind_of(key).is_some(), "{key}");
    }
}

#[test]
fn wrong_values_name_the_key_and_the_type() {
    let error = parse_words(&["gc_horizon:lots"]).unwrap_err().to_string();
    assert_eq!(error, "Failed to parse 'gc_horizon' as an integer: \"lots\"");
    let error = parse_words(&["gc_period:5a"]).unwrap_err().to_string();
    assert!(error.contains("gc_period"), "{error}");
    let error = parse_words(&["max_lsn_wal_lag:0"]).unwrap_err().to_string();
    assert!(error.contains("max_lsn_wal_lag"), "{error}");
}

#[test]
fn unknown_keys_are_listed() {
    let error = parse_words(&["colour:red", "gc_horizon:1"]).unwrap_err().to_string();
    assert_eq!(error, r#"Unrecognized tenant settings: {"colour": "red"}"#);
}
