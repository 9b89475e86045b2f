use super::*;

fn parse(arguments: &[&str]) -> Options {
    Options::try_parse_from(std::iter::once("safekeeper").chain(arguments.iter().copied())).unwrap()
}

fn config(arguments: &[&str]) -> Result<Config, ConfigError> {
    parse(arguments).into_config(NodeId(1), "/data".into())
}

#[test]
fn the_last_occurrence_of_an_option_wins() {
    let options = parse(&["--listen-http", "a:1", "--id=1", "--listen-http=b:2", "--id", "2"]);
    assert_eq!(options.listen_http, "b:2");
    assert_eq!(options.id, Some(NodeId(2)));
}

#[test]
fn flags_may_be_repeated() {
    assert!(parse(&["--no-sync", "--no-sync", "-n"]).no_sync);
}

#[test]
fn durations_are_written_for_people() {
    let options = parse(&["--heartbeat-timeout=7 s", "--control-file-save-interval", "1500ms"]);
    assert_eq!(options.heartbeat_timeout, Duration::from_secs(7));
    assert_eq!(options.control_file_save_interval, Duration::from_millis(1500));
}

#[test]
fn the_advertised_address_defaults_to_the_listening_one() {
    assert_eq!(config(&["-l", "10.0.0.1:99"]).unwrap().advertise_pg, "10.0.0.1:99");
    let both = config(&["-l", "10.0.0.1:99", "--advertise-pg=sk:1"]).unwrap();
    assert_eq!(both.advertise_pg, "sk:1");
}

#[test]
fn peer_recovery_takes_an_explicit_value() {
    assert!(!config(&["--peer-recovery=false"]).unwrap().peer_recovery);
    assert!(config(&["--peer-recovery=true"]).unwrap().peer_recovery);
}

#[test]
fn offloading_needs_object_storage() {
    let storage = "--remote-storage={local_path='/x'}";
    assert!(config(&["--enable-offload", storage]).unwrap().enable_offload);
    for options in
        [&["--enable-offload"][..], &["--enable-offload", storage, "--disable-wal-backup"]]
    {
        let error = config(options).unwrap_err().to_string();
        assert!(error.contains("--enable-offload needs --remote-storage"), "{error}");
    }
}

#[test]
fn partial_backup_enabled_is_accepted() {
    assert!(config(&["--partial-backup-enabled", "--partial-backup-timeout=1s"]).is_ok());
}

#[test]
fn wal_is_archived_where_there_is_storage_for_it() {
    assert!(!config(&[]).unwrap().wal_backup_enabled);
    assert!(!config(&["--remote-storage="]).unwrap().wal_backup_enabled);
    let storage = "--remote-storage={local_path='/x'}";
    assert!(config(&[storage]).unwrap().wal_backup_enabled);
    let bucket = "--remote-storage={bucket_name='b', bucket_region='r', prefix_in_bucket='wal'}";
    assert!(config(&[bucket]).unwrap().wal_backup_enabled);
    let disabled = config(&[storage, "--disable-wal-backup"]).unwrap();
    assert!(!disabled.wal_backup_enabled && disabled.remote_storage.is_some());
}

#[test]
fn unknown_object_storage_is_refused_by_name() {
    let error = config(&["--remote-storage={floppy='a:'}"]).unwrap_err().to_string();
    assert!(error.contains("--remote-storage") && error.contains("floppy"), "{error}");
}

#[test]
fn at_least_one_upload_at_a_time_is_needed() {
    for option in ["--wal-backup-parallel-jobs", "--partial-backup-concurrency"] {
        let error = config(&[&format!("{option}=0")]).unwrap_err().to_string();
        assert_eq!(error, format!("option {option}=0: at least 1 is needed"));
    }
}

#[test]
fn an_address_without_a_port_is_refused() {
    let error = config(&["--listen-pg=localhost"]).unwrap_err();
    assert_eq!(error.to_string(), "option --listen-pg=localhost: expected HOST:PORT");
}

#[test]
fn a_broker_endpoint_needs_a_scheme() {
    assert!(config(&["--broker-endpoint=localhost:50051"]).is_err());
}
