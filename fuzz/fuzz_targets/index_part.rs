//! Timeline indexes, deletion lists, layer names and binary metadata: no panic, and what was read is written
//! back alike.
#![no_main]

use layer_format::{DeletionHeader, DeletionList, IndexPart, LayerName, TimelineMetadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(index) = IndexPart::from_json(data)
        && let Ok(json) = index.to_json()
    {
        let again = IndexPart::from_json(&json).expect("own output is valid");
        assert_eq!(again.to_json().expect("was serialised before"), json);
    }
    if let Ok(list) = DeletionList::from_json(data)
        && let Ok(json) = list.to_json()
    {
        assert_eq!(list.remote_paths().len(), list.len());
        assert_eq!(DeletionList::from_json(&json).ok(), Some(list));
    }
    let _ = DeletionHeader::from_json(data);
    let _ = TimelineMetadata::from_bytes(data);
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok((name, generation)) = LayerName::parse_remote(text) {
            let written = name.remote_object_name(generation);
            assert_eq!(LayerName::parse_remote(&written).ok(), Some((name, generation)));
        }
        if let Ok((name, generation)) = LayerName::parse_local(text) {
            let written = name.local_file_name(generation);
            assert_eq!(LayerName::parse_local(&written).ok(), Some((name, generation)));
        }
        let _ = IndexPart::parse_object_name(text);
    }
});
