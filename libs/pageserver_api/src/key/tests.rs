//! Text, byte and compact forms of keys.

use super::*;
use proptest::prelude::*;

fn heap(fork: ForkNumber) -> RelTag {
    RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork }
}

#[test]
fn text_forms_match_the_format_description() {
    let block = Key::rel_block(heap(ForkNumber::Main), 7);
    assert_eq!(block.to_string(), "000000067F00000005000040000000000007");
    let size = Key::rel_size(heap(ForkNumber::Main));
    assert_eq!(size.to_string(), "000000067F000000050000400000FFFFFFFF");
    let members = Key::slru_block(SlruKind::MultiXactMembers, 3, 5);
    assert_eq!(members.to_string(), "010000000100000001000000030000000005");
}

#[test]
fn next_carries_through_all_fields() {
    let key = Key::new(0, 1663, 5, 16384, 0xFF, u32::MAX);
    assert_eq!(key.next(), Key::new(0, 1663, 5, 16385, 0, 0));
}

#[test]
fn metadata_and_aux_files_are_not_inherited() {
    assert!(!Key::AUX_FILES_V1.is_inherited());
    assert!(!Key::repl_origin(1).is_inherited());
    assert!(Key::CHECKPOINT.is_inherited());
}

proptest! {
    #[test]
    fn text_round_trips(bytes: [u8; KEY_SIZE]) {
        let key = Key::from_bytes(&bytes);
        prop_assert_eq!(key.to_bytes(), bytes);
        prop_assert_eq!(key.to_string().parse::<Key>(), Ok(key));
    }

    #[test]
    fn keys_are_ordered_as_their_serialised_forms(a: [u8; KEY_SIZE], b: [u8; KEY_SIZE]) {
        prop_assert_eq!(Key::from_bytes(&a).cmp(&Key::from_bytes(&b)), a.cmp(&b));
        let mut c = a;
        c[17] = b[17];
        prop_assert_eq!(Key::from_bytes(&a).cmp(&Key::from_bytes(&c)), a.cmp(&c));
    }

    #[test]
    fn compact_form_keeps_order(a: [u8; KEY_SIZE], b: [u8; KEY_SIZE]) {
        let compact = |bytes| {
            let mut key = Key::from_bytes(bytes);
            key.field1 &= 0x7F;
            key.field2 &= 0xFFFF;
            key
        };
        let (a, b) = (compact(&a), compact(&b));
        prop_assert_eq!(Key::from_i128(a.to_i128()), a);
        prop_assert_eq!(a.cmp(&b), a.to_i128().cmp(&b.to_i128()));
    }
}
