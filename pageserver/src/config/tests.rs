use std::time::Duration;

use remote_storage::RemoteStorageKind;

use super::*;

const MINIMAL: &str = "id = 1\nremote_storage = { local_path = '../remote' }";

fn parse(text: &str) -> Result<PageServerConf, ConfigError> {
    PageServerConf::parse(&format!("{MINIMAL}\n{text}"), &[], "/srv/pageserver".into())
}

fn error_of(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn defaults_fill_in_everything_but_id_and_remote_storage() {
    let conf = parse("").unwrap();
    assert_eq!(conf.listen.http_addr, "127.0.0.1:9898");
    assert_eq!(conf.wal.wait_lsn_timeout, Duration::from_secs(60));
    assert_eq!(conf.tenant_defaults, TenantConfig::default());
    assert_eq!(conf.postgres.superuser, "cloud_admin");
}

#[test]
fn a_missing_id_is_named() {
    let error = PageServerConf::parse("", &[], "/".into()).unwrap_err();
    assert_eq!(error.to_string(), "missing config value \"id\"");
}

#[test]
fn missing_remote_storage_is_explained() {
    let error = PageServerConf::parse("id = 1", &[], "/".into()).unwrap_err().to_string();
    assert!(error.contains("no remote storage configured, this is a deprecated configuration"));
}

#[test]
fn an_unknown_key_is_refused_with_its_value_and_the_known_keys() {
    let error = error_of("listen_pg_adr = 'x:1'");
    assert!(error.contains("unrecognized pageserver option 'listen_pg_adr'"), "{error}");
    assert!(error.contains("x:1") && error.contains("listen_pg_addr"), "{error}");
}

#[test]
fn a_bad_value_is_refused_with_key_value_and_what_is_allowed() {
    let cases = [
        ("wait_lsn_timeout = '5a'", "5a", "a duration"),
        ("test_remote_failures = -1", "-1", "not negative"),
        ("max_vectored_read_bytes = 0", "0", "at least 1"),
        ("http_auth_type = 'Basic'", "Basic", "'Trust' or 'NeonJWT'"),
        ("image_compression = 'lz4'", "lz4", "zstd"),
        ("log_format = 'xml'", "xml", "'plain' or 'json'"),
        ("broker_endpoint = 'localhost'", "localhost", "a URL"),
        ("concurrent_tenant_warmup = '0'", "0", "at least 1"),
        ("listen_pg_addr = 7", "7", "a string"),
        ("wal_redo_engine = 'magic'", "magic", "'native' or 'process'"),
        ("wal_redo_engine = 'process'", "process", "wal_redo_helper"),
        ("wal_redo_helper = ['wal_redo']", "wal_redo", "absolute path"),
        ("walreceiver_sslmode = 'allow'", "allow", "'verify-full'"),
        ("walreceiver_sslmode = 'verify-full'", "verify-full", "ssl_ca_file"),
        ("wal_redo_helper = []", "[]", "absolute path"),
        ("control_plane_api = 'x:1234'", "x:1234", "expected a URL"),
    ];
    for (text, value, allowed) in cases {
        let error = error_of(text);
        let key = text.split(' ').next().unwrap();
        assert!(
            error.contains(key) && error.contains(value) && error.contains(allowed),
            "{text}: {error}"
        );
    }
}

#[test]
fn overrides_replace_top_level_keys() {
    let overrides = ["id = 7".to_owned(), "tenant_config = { gc_period = '0s' }".to_owned()];
    let conf = PageServerConf::parse(MINIMAL, &overrides, "/srv".into()).unwrap();
    assert_eq!(conf.id, NodeId(7));
    assert_eq!(conf.tenant_defaults.gc_period, Duration::ZERO);
}

#[test]
fn a_malformed_override_is_quoted() {
    let error =
        PageServerConf::parse(MINIMAL, &["id =".to_owned()], "/".into()).unwrap_err().to_string();
    assert!(error.contains("override 'id ='"), "{error}");
}

#[test]
fn an_ill_typed_tenant_option_is_named() {
    let error = error_of("tenant_config = { gc_period = '5a' }");
    assert!(error.contains("failed to parse: 'tenant_config'"), "{error}");
    assert!(error.contains("gc_period"), "{error}");
}

#[test]
fn relative_paths_start_at_the_working_directory() {
    let conf = parse("").unwrap();
    let RemoteStorageKind::LocalFs { local_path } = conf.remote_storage.kind else {
        panic!("the minimal document names a directory")
    };
    assert_eq!(local_path, "/srv/pageserver/../remote");
    assert_eq!(conf.postgres.distrib_dir, "/srv/pageserver/pg_install");
}

#[test]
fn a_bucket_can_be_the_remote_storage() {
    let bucket = "bucket_name = 'b', bucket_region = 'eu-west-1', endpoint = 'http://[::1]:9000'";
    let document = format!("id = 1\nremote_storage = {{ {bucket} }}");
    let conf = PageServerConf::parse(&document, &[], "/srv".into()).unwrap();
    let RemoteStorageKind::S3(s3) = conf.remote_storage.kind else { panic!("it is a bucket") };
    assert_eq!(s3.bucket_name, "b");
    let document = document.replace("bucket_region", "bucket_regoin");
    let error = PageServerConf::parse(&document, &[], "/srv".into()).unwrap_err();
    assert!(error.to_string().contains("bucket_regoin"), "{error}");
}

#[test]
fn the_control_plane_is_known_by_its_url() {
    let conf = parse("control_plane_api = 'http://x:1/up'\ncontrol_plane_api_token = 't'").unwrap();
    assert_eq!(conf.upcalls.api.as_deref(), Some("http://x:1/up/"));
    assert!(!format!("{conf:?}").contains("\"t\""), "tokens are not for the log");
    assert_eq!(parse("control_plane_api = ''").unwrap().upcalls.api, None);
    assert!(parse("control_plane_emergency_mode = true").unwrap().upcalls.emergency_mode);
}

#[test]
fn tokens_need_a_key_file() {
    let error = error_of("pg_auth_type = 'NeonJWT'");
    assert!(error.contains("Can't find auth_validation_public_key at '/srv/pageserver/auth"));
}

#[test]
fn keys_of_absent_features_are_accepted_and_listed() {
    let conf = parse("synthetic_size_calculation_interval = '3s'").unwrap();
    assert_eq!(conf.without_effect, ["synthetic_size_calculation_interval"]);
}

#[test]
fn compression_levels_may_be_negative() {
    let conf = parse("image_compression = 'zstd(-3)'").unwrap();
    assert_eq!(conf.engine.image_compression, ImageCompression::Zstd(Some(-3)));
}

#[test]
fn a_version_that_is_not_installed_lists_where_it_was_searched() {
    let mut conf = parse("").unwrap();
    conf.postgres.distrib_dir = "/nonexistent".into();
    let error = conf.postgres.installation(postgres_ffi::PgMajor::V18).map_err(|e| e.to_string());
    if let Err(error) = error {
        assert!(error.contains("/nonexistent/v18") && error.contains("pg_distrib_dir"), "{error}");
    }
}

#[test]
fn the_version_is_filled_into_the_helpers_command() {
    let text = "wal_redo_helper = ['/opt/v{version}/bin/postgres', '--x={version}']";
    let helper = parse(text).unwrap().redo.helper.unwrap();
    assert_eq!(helper.program(postgres_ffi::PgMajor::V17), "/opt/v17/bin/postgres");
    assert_eq!(helper.arguments(postgres_ffi::PgMajor::V15), ["--x=15"]);
}

#[test]
fn eviction_under_disk_pressure_is_on_unless_turned_off() {
    let default = parse("").unwrap().disk_usage_eviction.unwrap();
    assert_eq!(default, DiskUsageEvictionConfig::default());
    assert_eq!(default.max_usage_pct, 80);
    let off = parse("disk_usage_based_eviction = { enabled = false }").unwrap();
    assert_eq!(off.disk_usage_eviction, None);
}

#[test]
fn the_order_of_eviction_is_read() {
    let text = "disk_usage_based_eviction = { max_usage_pct = 85, min_avail_bytes = 7, \
                period = '30s', eviction_order = { type = 'RelativeAccessed', \
                args = { highest_layer_count_loses_first = false } } }";
    let conf = parse(text).unwrap().disk_usage_eviction.unwrap();
    let relative = RelativeAccessed { highest_layer_count_loses_first: false };
    assert_eq!(conf.eviction_order, EvictionOrder::RelativeAccessed(relative));
    assert_eq!((conf.max_usage_pct, conf.period), (85, Duration::from_secs(30)));
}

#[test]
fn impossible_limits_of_the_disk_are_refused() {
    for (text, reason) in [
        ("max_usage_pct = 101", "1 to 100"),
        ("max_usage_pct = 0", "1 to 100"),
        ("period = '0s'", "above zero"),
        ("eviction_order = { type = 'Random' }", "Random"),
        (
            "mock_statvfs = { type = 'Success', blocksize = 1, total_blocks = 1, name_filter = '(' }",
            "name_filter",
        ),
        ("surprise = 1", "surprise"),
    ] {
        let error = error_of(&format!("disk_usage_based_eviction = {{ {text} }}"));
        assert!(error.contains(reason) && error.contains("disk_usage_based_eviction"), "{error}");
    }
}
