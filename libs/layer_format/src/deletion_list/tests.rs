use super::*;

const SHARD: &str = "11223344556677881122334455667788-0102";
const TIMELINE: &str = "00112233445566778899aabbccddeeff";
const GOLDEN: &str = "{\"version\":1,\"sequence\":18,\"tenants\":\
    {\"11223344556677881122334455667788-0102\":{\"timelines\":\
    {\"00112233445566778899aabbccddeeff\":[\"a-00000004\",\"b-00000003\"]},\"generation\":5}},\
    \"size\":2}";

fn shard() -> TenantShardId {
    SHARD.parse().unwrap()
}

fn list() -> DeletionList {
    let mut list = DeletionList::new(18);
    let names = vec!["a-00000004".to_owned(), "b-00000003".to_owned()];
    list.push(shard(), TIMELINE.parse().unwrap(), Generation::Valid(5), names).unwrap();
    list
}

#[test]
fn a_list_is_written_as_documented() {
    assert_eq!(String::from_utf8(list().to_json().unwrap()).unwrap(), GOLDEN);
    assert_eq!(DeletionList::from_json(GOLDEN.as_bytes()).unwrap(), list());
    let validated = DeletionList { validated: true, ..list() }.to_json().unwrap();
    assert!(String::from_utf8(validated).unwrap().ends_with("\"size\":2,\"validated\":true}"));
}

#[test]
fn a_header_is_written_as_documented() {
    let json = DeletionHeader::new(17).to_json().unwrap();
    assert_eq!(json, b"{\"version\":1,\"validated_sequence\":17}");
    assert_eq!(DeletionHeader::from_json(&json).unwrap().validated_sequence, 17);
}

#[test]
fn files_of_another_version_are_refused() {
    let header = DeletionHeader::from_json(b"{\"version\":2,\"validated_sequence\":1}");
    assert!(matches!(header, Err(DeletionListError::Version(2))));
    let list = GOLDEN.replace("\"version\":1", "\"version\":3");
    let list = DeletionList::from_json(list.as_bytes());
    assert!(matches!(list, Err(DeletionListError::Version(3))));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../x", "", ".", "..", "a/b"] {
        let text = GOLDEN.replace("a-00000004", name);
        let refused = DeletionList::from_json(text.as_bytes());
        assert!(matches!(refused, Err(DeletionListError::Name(_))), "{name}");
    }
}

#[test]
fn a_shard_has_one_generation_in_a_list() {
    let mut list = list();
    let timeline = TIMELINE.parse().unwrap();
    let names = vec!["c".to_owned()];
    let refused = list.push(shard(), timeline, Generation::Valid(6), names.clone());
    assert_eq!(refused, Err(names));
    assert_eq!(list.len(), 2);
}

#[test]
fn a_dropped_shard_is_not_counted_any_more() {
    let mut list = list();
    assert_eq!(list.drop_shard(&shard()), 2);
    assert_eq!(list.drop_shard(&shard()), 0);
    assert!(list.is_empty() && list.remote_paths().is_empty());
}

#[test]
fn keys_begin_with_the_shard_and_the_timeline() {
    let prefix = format!("tenants/{SHARD}/timelines/{TIMELINE}/");
    assert_eq!(
        list().remote_paths(),
        [format!("{prefix}a-00000004"), format!("{prefix}b-00000003")]
    );
}

#[test]
fn names_of_files_carry_the_sequence_number() {
    assert_eq!(DeletionList::file_name(18), "0000000000000012-01.list");
    assert_eq!(DeletionList::parse_file_name("0000000000000012-01.list"), Some(18));
    for other in ["header-01", "12-01.list", "000000000000001g-01.list", "0000000000000012-02.list"]
    {
        assert_eq!(DeletionList::parse_file_name(other), None, "{other}");
    }
}

#[test]
fn the_count_in_a_file_is_not_trusted() {
    let text = GOLDEN.replace("\"size\":2", "\"size\":7");
    assert_eq!(DeletionList::from_json(text.as_bytes()).unwrap().len(), 2);
}
