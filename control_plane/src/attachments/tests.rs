use super::*;

fn attachments() -> (tempfile::TempDir, Attachments) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let attachments = Attachments::load(&path).unwrap();
    (dir, attachments)
}

fn reload(attachments: &Attachments) -> Attachments {
    Attachments::load(attachments.path.parent().unwrap()).unwrap()
}

const NODES: [NodeId; 2] = [NodeId(1), NodeId(2)];

#[test]
fn tenants_go_where_the_fewest_are() {
    let (_dir, mut attachments) = attachments();
    let options = TenantConfigOverrides::default();
    let placed: Vec<NodeId> =
        (0..3).map(|_| attachments.add(TenantId::generate(), &options, &NODES).unwrap()).collect();
    assert_eq!(placed, [NodeId(1), NodeId(2), NodeId(1)]);
    assert_eq!(attachments.tenants_of(NodeId(1)).len(), 2);
}

#[test]
fn generations_survive_and_only_grow() {
    let (_dir, mut attachments) = attachments();
    let tenant = TenantId::generate();
    let options = TenantConfigOverrides { gc_horizon: Some(7), ..TenantConfigOverrides::default() };
    attachments.add(tenant, &options, &NODES).unwrap();
    assert_eq!(reload(&attachments).location(tenant).unwrap().generation, Some(1));
    attachments.raise_generation(tenant).unwrap();
    let location = reload(&attachments).location(tenant).unwrap();
    assert_eq!(location.generation, Some(2));
    assert_eq!(location.tenant_conf, options);
    assert_eq!(reload(&attachments).node_of(tenant).unwrap(), NodeId(1));
}

#[test]
fn a_tenant_is_added_once() {
    let (_dir, mut attachments) = attachments();
    let tenant = TenantId::generate();
    let options = TenantConfigOverrides::default();
    attachments.add(tenant, &options, &NODES).unwrap();
    let again = attachments.add(tenant, &options, &NODES).unwrap_err();
    assert!(matches!(again, AttachmentError::Exists(_)));
    attachments.remove(tenant).unwrap();
    assert!(matches!(reload(&attachments).node_of(tenant), Err(AttachmentError::Unknown(_))));
}

#[test]
fn without_pageservers_nothing_can_be_attached() {
    let (_dir, mut attachments) = attachments();
    let options = TenantConfigOverrides::default();
    let error = attachments.add(TenantId::generate(), &options, &[]).unwrap_err();
    assert!(matches!(error, AttachmentError::NoPageservers));
}

#[test]
fn the_file_of_a_storage_controller_is_read() {
    let (_dir, attachments) = attachments();
    let text = r#"{"tenants": {"3aa8fcc61f6d357410b7de754b1d9001": {
        "tenant_id": "3aa8fcc61f6d357410b7de754b1d9001", "shard_number": 0, "shard_count": 0,
        "shard_stripe_size": 32768, "generation": 3, "pageserver": 2,
        "placement_policy": "{\"Attached\":1}", "splitting": "Idle",
        "config": "{}", "scheduling_policy": "\"Active\""}}}"#;
    std::fs::write(&attachments.path, text).unwrap();
    let loaded = reload(&attachments);
    let tenant = "3aa8fcc61f6d357410b7de754b1d9001".parse().unwrap();
    assert_eq!(loaded.node_of(tenant).unwrap(), NodeId(2));
    assert_eq!(loaded.location(tenant).unwrap().generation, Some(3));
}

#[test]
fn a_damaged_file_is_reported_and_kept() {
    let (_dir, attachments) = attachments();
    std::fs::write(&attachments.path, "{").unwrap();
    let error = Attachments::load(attachments.path.parent().unwrap()).unwrap_err().to_string();
    assert!(error.contains("attachments.json"), "{error}");
}
