use proptest::prelude::*;

use super::*;

#[test]
fn a_relation_directory_has_the_documented_bytes() {
    let directory = RelDirectory([(16_384, 0), (16_384, 2)].into());
    let expected = hex::decode("000000000000000200004000000000400002").unwrap();
    assert_eq!(directory.encode()[..], expected);
    assert_eq!(RelDirectory::decode(&expected), Ok(directory));
}

#[test]
fn prepared_transactions_are_wider_from_17_on() {
    let directory = TwoPhaseDirectory([0x1_0000_0005].into());
    assert_eq!(directory.encode(PgMajor::V17).len(), 16);
    assert_eq!(
        TwoPhaseDirectory::decode(&directory.encode(PgMajor::V17), PgMajor::V17),
        Ok(directory)
    );
    let directory = TwoPhaseDirectory([5].into());
    assert_eq!(directory.encode(PgMajor::V15).len(), 12);
}

#[test]
fn surplus_bytes_are_refused() {
    let mut bytes = SlruDirectory([1].into()).encode().to_vec();
    bytes.push(0);
    assert_eq!(SlruDirectory::decode(&bytes), Err(DirectoryDecodeError::Surplus(1)));
}

proptest! {
    #[test]
    fn database_directories_survive(entries in prop::collection::btree_map(any::<(u32, u32)>(), any::<bool>(), 0..20)) {
        let directory = DbDirectory(entries);
        prop_assert_eq!(DbDirectory::decode(&directory.encode()), Ok(directory));
    }

    #[test]
    fn aux_file_maps_survive(entries in prop::collection::btree_map(".{0,20}", prop::collection::vec(any::<u8>(), 0..30), 0..10)) {
        let entries = entries.into_iter().map(|(path, content)| (path, Bytes::from(content)));
        let directory = AuxFilesDirectory(entries.collect());
        prop_assert_eq!(AuxFilesDirectory::decode(&directory.encode()), Ok(directory));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = DbDirectory::decode(&bytes);
        let _ = RelDirectory::decode(&bytes);
        let _ = SlruDirectory::decode(&bytes);
        let _ = AuxFilesDirectory::decode(&bytes);
        let _ = TwoPhaseDirectory::decode(&bytes, PgMajor::V18);
    }
}
