use proptest::prelude::*;

use super::*;

#[test]
fn keys_expand_to_the_documented_text() {
    for (path, key) in [
        ("pg_logical/mappings/test1", "62000001017F8B83D94F7081693471ABF91C"),
        ("pg_logical/replorigin_checkpoint", "62000001032E07BB014262B821756295C58D"),
        ("pg_replslot/sub1/state", "62000002011CDE14934B1DC19112DDCD798A"),
    ] {
        assert_eq!(aux_file_key(path).to_string(), key, "{path}");
    }
}

#[test]
fn no_files_are_an_empty_value() {
    assert!(encode_aux_files(&[]).is_empty());
    assert_eq!(decode_aux_files(&Bytes::new()), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn files_survive(files in prop::collection::vec((".{0,20}", prop::collection::vec(any::<u8>(), 0..30)), 0..5)) {
        let files: Vec<(String, Bytes)> =
            files.into_iter().map(|(path, content)| (path, Bytes::from(content))).collect();
        prop_assert_eq!(decode_aux_files(&encode_aux_files(&files)), Ok(files));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode_aux_files(&Bytes::from(bytes));
    }
}
