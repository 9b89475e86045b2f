use super::*;

const MINIMAL: &str = r#"{
    "tenant_id": "9e4c8f36063c6c6e93bc20d65a820f3d",
    "timeline_id": "de200bd42b49cc1814412c7e592dd6e9",
    "pageserver_connstring": "postgresql://no_user@127.0.0.1:64000,postgresql://no_user@h:1",
    "safekeeper_connstrings": ["127.0.0.1:5454", "127.0.0.1:5455"]
}"#;

fn spec_with(change: impl FnOnce(&mut ComputeSpec)) -> ComputeSpec {
    let mut spec = ComputeSpec::from_json(MINIMAL).unwrap();
    change(&mut spec);
    spec
}

#[test]
fn ids_and_addresses_are_enough() {
    let endpoint = ComputeSpec::from_json(MINIMAL).unwrap().check(None).unwrap();
    assert_eq!(endpoint.mode, ComputeMode::Primary);
    assert_eq!(endpoint.pageserver.address(), "127.0.0.1:64000");
    assert_eq!(endpoint.safekeepers[1].address(), "127.0.0.1:5455");
}

#[test]
fn safekeepers_are_told_the_timeline() {
    let endpoint = ComputeSpec::from_json(MINIMAL).unwrap().check(None).unwrap();
    let options = endpoint.safekeepers[0].options.join(" ");
    let expected = "-c timeline_id=de200bd42b49cc1814412c7e592dd6e9 \
                    tenant_id=9e4c8f36063c6c6e93bc20d65a820f3d";
    assert_eq!(options, expected);
}

#[test]
fn unknown_members_are_kept() {
    let text = MINIMAL.replacen('{', r#"{"later": [1], "#, 1);
    let spec = ComputeSpec::from_json(&text).unwrap();
    assert_eq!(serde_json::to_value(spec).unwrap()["later"][0], 1);
}

#[test]
fn the_three_modes_are_read() {
    let mode = |json: &str| serde_json::from_str::<ComputeMode>(json).unwrap();
    assert_eq!(mode(r#""Primary""#), ComputeMode::Primary);
    assert_eq!(mode(r#""Replica""#), ComputeMode::Replica);
    assert_eq!(mode(r#"{"Static":"0/16B5A50"}"#), ComputeMode::Static(Lsn(0x16B5A50)));
}

#[test]
fn a_missing_timeline_is_named() {
    let error = spec_with(|spec| spec.timeline_id = None).check(None).unwrap_err();
    assert_eq!(error.to_string(), "the spec lacks timeline_id, which has no default");
}

#[test]
fn a_primary_needs_safekeepers_and_a_static_endpoint_does_not() {
    let none = |spec: &mut ComputeSpec| spec.safekeeper_connstrings.clear();
    assert!(spec_with(none).check(None).is_err());
    let fixed = spec_with(|spec| {
        none(spec);
        spec.mode = ComputeMode::Static(Lsn(8));
    });
    fixed.check(None).unwrap();
}

#[test]
fn a_safekeeper_cannot_count_twice() {
    let twice = |spec: &mut ComputeSpec| {
        spec.safekeeper_connstrings = vec!["a:1".into(), "a:1".into()];
    };
    let error = spec_with(twice).check(None).unwrap_err();
    assert_eq!(error.to_string(), "the spec names safekeeper a:1 twice");
}

#[test]
fn the_token_of_the_spec_goes_before_that_of_the_environment() {
    let own = spec_with(|spec| spec.storage_auth_token = Some("own".into()));
    let endpoint = own.check(Some("env".into())).unwrap();
    assert_eq!(endpoint.safekeepers[0].password.as_deref(), Some("own"));
    let endpoint = spec_with(|_| {}).check(Some("env".into())).unwrap();
    assert_eq!(endpoint.pageserver.password.as_deref(), Some("env"));
}

#[test]
fn a_replica_finds_its_safekeepers_in_primary_conninfo() {
    let replica = spec_with(|spec| {
        spec.mode = ComputeMode::Replica;
        spec.safekeeper_connstrings.clear();
        spec.cluster.postgresql_conf = Some(
            "primary_conninfo='host=localhost,localhost port=5454,5455 \
             options=''-c timeline_id=x tenant_id=y'' application_name=replica'\n"
                .into(),
        );
    });
    let endpoint = replica.check(None).unwrap();
    let addresses: Vec<_> = endpoint.safekeepers.iter().map(|sk| sk.address()).collect();
    assert_eq!(addresses, ["localhost:5454", "localhost:5455"]);
}

#[test]
fn a_replica_encrypts_as_its_primary_conninfo_says() {
    let replica = spec_with(|spec| {
        spec.mode = ComputeMode::Replica;
        spec.safekeeper_connstrings.clear();
        spec.cluster.postgresql_conf = Some(
            "primary_conninfo='host=localhost,localhost port=5454,5455 application_name=replica \
             sslmode=verify-full sslrootcert=/etc/ca.crt'\n"
                .into(),
        );
    });
    for safekeeper in replica.check(None).unwrap().safekeepers {
        assert_eq!(safekeeper.tls.mode, postgres_client::SslMode::VerifyFull);
        assert_eq!(safekeeper.tls.root_cert.as_deref(), Some("/etc/ca.crt".into()));
    }
}
