use super::*;

#[test]
fn a_local_path_selects_the_local_store() {
    let config: RemoteStorageConfig = toml::from_str("local_path = '/srv/objects'").unwrap();
    assert_eq!(config.kind, RemoteStorageKind::LocalFs { local_path: "/srv/objects".into() });
    assert_eq!(config.timeout, DEFAULT_TIMEOUT);
}

#[test]
fn the_timeout_is_written_for_people() {
    let text = "local_path = 'objects'\ntimeout = '5s'";
    let config: RemoteStorageConfig = toml::from_str(text).unwrap();
    assert_eq!(config.timeout, Duration::from_secs(5));
    let again: RemoteStorageConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
}

#[test]
fn unknown_and_missing_keys_are_refused() {
    let unknown = toml::from_str::<RemoteStorageConfig>("local_path = 'a'\nbukket = 'b'");
    assert!(unknown.unwrap_err().to_string().contains("bukket"));
    let missing = toml::from_str::<RemoteStorageConfig>("");
    assert!(missing.unwrap_err().to_string().contains("local_path"));
}
