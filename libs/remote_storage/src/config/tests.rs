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

#[test]
fn a_bucket_is_described_whole() {
    let text = "bucket_name = 'b'\nbucket_region = 'eu-west-1'\nprefix_in_bucket = 'p'\n\
        endpoint = 'http://127.0.0.1:9000'\nconcurrency_limit = 7\n\
        max_keys_per_list_response = 10\nupload_storage_class = 'INTELLIGENT_TIERING'";
    let config: RemoteStorageConfig = toml::from_str(text).unwrap();
    let RemoteStorageKind::S3(bucket) = &config.kind else { panic!("{config:?}") };
    assert_eq!(bucket.bucket_name, "b");
    assert_eq!(bucket.concurrency_limit.get(), 7);
    assert_eq!(bucket.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
    let again: RemoteStorageConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
}

#[test]
fn containers_and_buckets_of_other_clouds_are_described_whole() {
    for text in [
        "container_name = 'c'\ncontainer_region = 'westeurope'\nstorage_account = 'a'\n\
         prefix_in_container = 'p'\nendpoint = 'http://127.0.0.1:10000/a'\nconcurrency_limit = 3\n",
        "container_name = 'c'\ncontainer_region = 'westeurope'\ntimeout = '5s'\n",
        "gcs_bucket_name = 'g'\nprefix_in_bucket = 'p'\nconcurrency_limit = 3\n",
    ] {
        let config: RemoteStorageConfig = toml::from_str(text).unwrap();
        let is_cloud =
            matches!(config.kind, RemoteStorageKind::Azure(_) | RemoteStorageKind::Gcs(_));
        assert!(is_cloud, "{config:?}");
        let again = toml::to_string(&config).unwrap();
        let table = |text: &str| text.parse::<toml::Table>().unwrap();
        assert_eq!(table(&again), table(text));
    }
}

#[test]
fn a_bucket_needs_its_name_and_region() {
    for (text, named) in [
        ("bucket_name = 'b'", "lacks bucket_region"),
        ("bucket_region = 'r'", "lacks bucket_name"),
        ("local_path = 'a'\nbucket_name = 'b'", "local_path and also bucket_name"),
        ("local_path = 'a'\nendpoint = 'http://b'", "local_path and also endpoint"),
        ("container_name = 'c'\ncontainer_region = ''", "lacks container_region"),
        ("gcs_bucket_name = 'g'\nbucket_region = 'r'", "bucket_region and also gcs_bucket_name"),
        ("gcs_bucket_name = 'g'\nendpoint = 'http://b'", "gcs_bucket_name and also endpoint"),
        (
            "bucket_name = 'b'\nbucket_region = 'r'\nmax_keys_per_list_response = 0",
            "from 1 to 1000",
        ),
        ("bucket_name = 'b'\nbucket_region = 'r'\nendpoint = 'host:80'", "http://"),
        ("bucket_name = 'b'\nbucket_region = 'r'\nconcurrency_limit = 0", "concurrency_limit"),
    ] {
        let error = toml::from_str::<RemoteStorageConfig>(text).unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn only_directories_are_relative() {
    let local: RemoteStorageConfig = toml::from_str("local_path = '../x'").unwrap();
    let RemoteStorageKind::LocalFs { local_path } = local.relative_to("/srv".into()).kind else {
        panic!("it is a directory")
    };
    assert_eq!(local_path, "/srv/../x");
}
