use super::*;
use utils::TenantId;

fn workdir() -> (tempfile::TempDir, &'static PageServerConf) {
    let guard = tempfile::tempdir().unwrap();
    let conf = PageServerConf::for_tests(Utf8Path::from_path(guard.path()).unwrap());
    (guard, conf)
}

const LOCATION: &str = "[mode.Attached]\ngeneration = 1\nattach_mode = 'Single'";

#[test]
fn a_tenant_with_a_broken_location_does_not_hide_the_others() {
    let (_guard, conf) = workdir();
    let (good, bad) = (TenantId::generate(), TenantId::generate());
    for (tenant, text) in [(good, LOCATION), (bad, "[mode.Attach")] {
        let shard = TenantShardId::unsharded(tenant);
        create_tenant_dir(conf, &shard).unwrap();
        std::fs::write(conf.tenant_location_path(&shard), text).unwrap();
    }
    let found = scan_tenants(conf).unwrap();
    assert!(found[&TenantShardId::unsharded(good)].is_ok());
    let error = found[&TenantShardId::unsharded(bad)].as_ref().unwrap_err();
    assert!(error.to_string().contains("config-v1"), "{error}");
}

#[test]
fn temporary_and_empty_directories_are_removed_at_start() {
    let (_guard, conf) = workdir();
    let root = conf.tenants_path();
    let empty = root.join(TenantId::generate().to_string());
    let temp = root.join(format!("{}.abcdefgh___temp", TenantId::generate()));
    std::fs::create_dir_all(&empty).unwrap();
    std::fs::create_dir_all(temp.join("timelines")).unwrap();
    assert!(scan_tenants(conf).unwrap().is_empty());
    assert!(!empty.exists() && !temp.exists());
}

#[test]
fn foreign_names_are_left_alone() {
    let (_guard, conf) = workdir();
    let foreign = conf.tenants_path().join("lost+found");
    std::fs::create_dir_all(&foreign).unwrap();
    assert!(scan_tenants(conf).unwrap().is_empty());
    assert!(foreign.exists());
}

#[test]
fn timelines_that_are_not_in_remote_storage_are_purged() {
    let (_guard, conf) = workdir();
    let shard = TenantShardId::unsharded(TenantId::generate());
    let (kept, stale) = (TimelineId::generate(), TimelineId::generate());
    create_tenant_dir(conf, &shard).unwrap();
    for timeline in [kept, stale] {
        std::fs::create_dir(conf.timeline_path(&shard, &timeline)).unwrap();
    }
    let root = conf.timelines_path(&shard);
    std::fs::create_dir(root.join(format!("basebackup-{stale}.___temp"))).unwrap();
    std::fs::write(root.join(format!("{stale}.___uninit")), "").unwrap();
    purge_leftovers(&root, &BTreeSet::from([kept])).unwrap();
    assert_eq!(entries(&root).unwrap(), [kept.to_string()]);
}

#[test]
fn a_renamed_directory_is_temporary() {
    let (_guard, conf) = workdir();
    let shard = TenantShardId::unsharded(TenantId::generate());
    create_tenant_dir(conf, &shard).unwrap();
    let path = conf.tenant_path(&shard);
    let temp = rename_away(&path).unwrap().unwrap();
    assert!(!path.exists() && temp.exists() && temp.as_str().ends_with("___temp"));
    assert!(rename_away(&path).unwrap().is_none());
}
