use super::*;

const EXAMPLE: &str = r#"{"version":7,
 "layer_metadata":{
  "000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__00000000014EE151-0000000002B4E1A9":
    {"file_size":1236992,"generation":3},
  "000000067F00000005000040000000000000-000000067F00000005000040010000000000__0000000002A00000":
    {"file_size":40960,"generation":2,"shard":"0001"}},
 "disk_consistent_lsn":"0/2B4E1A8",
 "metadata_bytes":{"disk_consistent_lsn":"0/2B4E1A8","prev_record_lsn":"0/2B4E170","ancestor_timeline":null,
   "ancestor_lsn":"0/0","latest_gc_cutoff_lsn":"0/14EE150","initdb_lsn":"0/14EE150","pg_version":15},
 "lineage":{}}"#;

fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_documented_example_round_trips() {
    let index = IndexPart::from_json(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(index.layer_metadata.len(), 2);
    assert_eq!(index.metadata.prev_record_lsn, Some(Lsn(0x2B4E170)));
    let image = index.layer_metadata.values().last().unwrap();
    assert_eq!(image.shard.to_string(), "0001");
    let written = String::from_utf8(index.to_json().unwrap()).unwrap();
    assert_eq!(value(&written), value(EXAMPLE));
}

#[test]
fn metadata_as_an_array_of_bytes_is_read() {
    let index = IndexPart::from_json(EXAMPLE.as_bytes()).unwrap();
    let mut old = value(EXAMPLE);
    let object = old.as_object_mut().unwrap();
    object.remove("version");
    object.remove("lineage");
    object.remove("metadata_bytes");
    let bytes = index.metadata.to_bytes().to_vec();
    object.insert("metadata".to_owned(), serde_json::to_value(bytes).unwrap());
    object.insert("timeline_layers".to_owned(), serde_json::json!([]));
    let parsed = IndexPart::from_json(old.to_string().as_bytes()).unwrap();
    assert_eq!(parsed, IndexPart { version: 0, ..index });
}

#[test]
fn a_missing_required_field_is_an_error() {
    for field in ["layer_metadata", "disk_consistent_lsn", "metadata_bytes"] {
        let mut broken = value(EXAMPLE);
        broken.as_object_mut().unwrap().remove(field);
        let error = IndexPart::from_json(broken.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("missing field"), "{field}: {error}");
    }
}

#[test]
fn deletion_policy_and_size_are_kept() {
    let mut index = IndexPart::from_json(EXAMPLE.as_bytes()).unwrap();
    index.deleted_at = Some("2024-06-30T11:22:33.456".parse().unwrap());
    index.last_aux_file_policy = Some("v2".to_owned());
    index.logical_size = Some(1 << 40);
    let json = index.to_json().unwrap();
    assert_eq!(value(std::str::from_utf8(&json).unwrap())["deleted_at"], "2024-06-30T11:22:33.456");
    assert_eq!(IndexPart::from_json(&json).unwrap(), index);
}

#[test]
fn the_consistent_lsn_written_is_that_of_the_metadata() {
    let mut index = IndexPart::from_json(EXAMPLE.as_bytes()).unwrap();
    index.metadata.disk_consistent_lsn = Lsn(0x3000000);
    let written = IndexPart::from_json(&index.to_json().unwrap()).unwrap();
    assert_eq!(written.disk_consistent_lsn, Lsn(0x3000000));
}

#[test]
fn object_names_carry_the_generation() {
    for generation in [Generation::None, Generation::Valid(0), Generation::Valid(0xABCDEF)] {
        let name = IndexPart::object_name(generation);
        assert_eq!(IndexPart::parse_object_name(&name), Some(generation));
    }
    assert_eq!(IndexPart::parse_object_name("index_part.json.bak"), None);
    assert_eq!(IndexPart::parse_object_name("initdb.tar.zst"), None);
}

/// What each version wrote.
fn versions() -> Vec<(u32, serde_json::Value)> {
    use serde_json::json;
    const LAYER: &str = "000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__\
        00000000014EE151-0000000002B4E1A9";
    let metadata = IndexPart::from_json(EXAMPLE.as_bytes()).unwrap().metadata;
    let bytes = metadata.to_bytes().to_vec();
    let old = |version: u32, more: serde_json::Value| {
        let mut index = json!({
            "version": version,
            "layer_metadata": {LAYER: {"file_size": 1236992}},
            "disk_consistent_lsn": "0/2B4E1A8",
            "metadata_bytes": bytes,
        });
        index.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (version, index)
    };
    let object = value(EXAMPLE)["metadata_bytes"].clone();
    vec![
        old(1, json!({"timeline_layers": [LAYER], "missing_layers": []})),
        old(2, json!({"timeline_layers": [LAYER], "deleted_at": "2023-06-30T11:22:33"})),
        old(3, json!({"timeline_layers": [LAYER]})),
        old(4, json!({"layer_metadata": {LAYER: {"file_size": 1236992, "generation": 7}}})),
        old(
            5,
            json!({"lineage": {"original_ancestor":
            ["7d0c9a5be1f34c0aa1f2c44d5e6f7081", "0/1C00028", "2024-03-01T00:00:00"]}}),
        ),
        old(6, json!({"lineage": {}, "last_aux_file_policy": "V2"})),
        old(7, json!({"lineage": {}, "metadata_bytes": object})),
        // Later versions have more, which is not kept.
        old(
            15,
            json!({"metadata_bytes": value(EXAMPLE)["metadata_bytes"], "archived_at": null,
            "gc_blocking": {"started_at": "2025-01-01T00:00:00", "reasons": ["Manual"]},
            "rel_size_migration": "migrated", "l2_lsn": "0/10"}),
        ),
    ]
}

#[test]
fn every_version_is_read_and_the_newest_is_written() {
    for (version, text) in versions() {
        let index = IndexPart::from_json(text.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("version {version}: {error}"));
        assert_eq!(index.version, version);
        assert_eq!(index.metadata.disk_consistent_lsn, Lsn(0x2B4E1A8), "version {version}");
        let (_, layer) = index.layer_metadata.iter().next().unwrap();
        let expected = if version == 4 { Generation::Valid(7) } else { Generation::None };
        assert_eq!((layer.file_size, layer.generation), (1236992, expected));
        assert_eq!(index.deleted_at.is_some(), version == 2);
        let written = index.to_json().unwrap();
        let again = IndexPart::from_json(&written).unwrap();
        assert_eq!(again, IndexPart { version: INDEX_VERSION, ..index }, "version {version}");
    }
}
