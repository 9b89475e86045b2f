use std::time::Duration;

use super::*;

fn attached(generation: u32) -> LocationConf {
    LocationConf {
        mode: LocationMode::Attached {
            generation: Generation::Valid(generation),
            attach_mode: AttachMode::Single,
        },
        shard: ShardIdentity::unsharded(),
        tenant_conf: TenantConfigOverrides::default(),
    }
}

fn reparse(conf: &LocationConf) -> LocationConf {
    parse(&render(conf).unwrap(), "config-v1".into()).unwrap()
}

#[test]
fn an_attached_location_round_trips() {
    let mut conf = attached(5);
    conf.shard = ShardIdentity::new(ShardNumber(1), ShardCount(4), 32768).unwrap();
    conf.tenant_conf.pitr_interval = Some(Duration::from_secs(3600));
    assert_eq!(reparse(&conf), conf);
}

#[test]
fn a_location_without_generation_round_trips() {
    let mut conf = attached(5);
    conf.mode =
        LocationMode::Attached { generation: Generation::None, attach_mode: AttachMode::Stale };
    assert_eq!(reparse(&conf), conf);
}

#[test]
fn a_secondary_location_round_trips() {
    let mut conf = attached(5);
    conf.mode = LocationMode::Secondary { warm: true };
    assert_eq!(reparse(&conf), conf);
}

#[test]
fn an_unsharded_file_has_no_shard_table() {
    let text = render(&attached(5)).unwrap();
    assert!(!text.contains("[shard]"), "{text}");
    assert!(text.contains("[mode.Attached]") && text.contains("generation = 5"), "{text}");
}

#[test]
fn the_file_of_another_version_is_read() {
    let text = r#"
        [mode.Attached]
        generation = 5
        attach_mode = "Multi"
        [shard]
        number = 1
        count = 4
        stripe_size = 32768
        layout = 1
        [tenant_conf]
        gc_horizon = 1048576
        compaction_period = "1m 20s"
        from_the_future = "x"
        [tenant_conf.eviction_policy]
        kind = "LayerAccessThreshold"
        period = "20s"
        threshold = "1day"
    "#;
    let conf = parse(text, "config-v1".into()).unwrap();
    assert_eq!(conf.tenant_conf.compaction_period, Some(Duration::from_secs(80)));
    assert_eq!(conf.shard.number, ShardNumber(1));
}

#[test]
fn truncated_and_corrupt_files_name_themselves() {
    let whole = render(&attached(5)).unwrap();
    let end = whole.find("attach_mode").unwrap();
    for text in ["", "mode = 7", &whole[..end], "\0\0\0"] {
        let error = parse(text, "tenants/x/config-v1".into()).unwrap_err().to_string();
        assert!(error.contains("tenants/x/config-v1"), "{error}");
    }
}

#[test]
fn an_ill_typed_option_is_named() {
    let text = "[mode.Secondary]\nwarm = true\n[tenant_conf]\ngc_period = '5a'";
    let error = parse(text, "config-v1".into()).unwrap_err().to_string();
    assert!(error.contains("gc_period"), "{error}");
}

#[test]
fn attaching_needs_a_generation_and_a_secondary_refuses_one() {
    let mut request = LocationConfig::attached_single(1, TenantConfigOverrides::default());
    request.generation = None;
    assert_eq!(LocationConf::try_from(request.clone()), Err(LocationError::NoGeneration));
    request.mode = LocationConfigMode::Secondary;
    request.generation = Some(1);
    assert_eq!(LocationConf::try_from(request), Err(LocationError::SecondaryWithGeneration));
}

#[test]
fn contradictory_shard_parameters_are_refused() {
    let mut request = LocationConfig::attached_single(1, TenantConfigOverrides::default());
    request.shard_count = 4;
    assert!(LocationConf::try_from(request.clone()).is_err());
    request.shard_stripe_size = 8;
    request.shard_number = 4;
    assert!(LocationConf::try_from(request.clone()).is_err());
    request.shard_number = 3;
    assert_eq!(LocationConf::try_from(request).unwrap().shard.count, ShardCount(4));
}
