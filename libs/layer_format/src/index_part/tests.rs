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
fn deletion_and_policy_are_kept() {
    let mut index = IndexPart::from_json(EXAMPLE.as_bytes()).unwrap();
    index.deleted_at = Some("2024-06-30T11:22:33.456".parse().unwrap());
    index.last_aux_file_policy = Some("v2".to_owned());
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
