use proptest::prelude::*;

use super::*;

const L0: &str = "000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__00000000014EE151-00000000016960E9";

#[test]
fn the_documented_example_parses_with_its_generation() {
    let (name, generation) = LayerName::parse_local(&format!("{L0}-v1-00000001")).unwrap();
    assert!(name.is_l0());
    assert_eq!(name.lsn_range(), Lsn(0x14EE151)..Lsn(0x16960E9));
    assert_eq!(generation, Generation::Valid(1));
    assert_eq!(name.to_string(), L0);
}

#[test]
fn a_remote_name_yields_its_generation() {
    let name: LayerName = L0.parse().unwrap();
    let remote = name.remote_object_name(Generation::Valid(0x2a));
    assert_eq!(remote, format!("{L0}-0000002a"));
    assert_eq!(LayerName::parse_remote(&remote).unwrap(), (name.clone(), Generation::Valid(0x2a)));
    assert_eq!(LayerName::parse_remote(L0).unwrap(), (name, Generation::None));
}

#[test]
fn malformed_names_are_refused() {
    let lower = L0.to_lowercase();
    for text in [
        "",
        "__",
        "abc",
        &lower,
        &format!("{L0}-"),
        &format!("{L0}-0000000000000000"),
        &format!("{L0}__0000000000000000"),
        &L0[1..],
        &format!("{L0}.___temp"),
        &format!("{L0}-v1-0000000A"),
        "ephemeral-1",
    ] {
        assert!(text.parse::<LayerName>().is_err(), "{text}");
    }
}

#[test]
fn a_delta_needs_non_empty_ranges() {
    let key = Key::MIN.to_string();
    let empty_keys = format!("{key}-{key}__{:016X}-{:016X}", 1, 2);
    assert_eq!(
        empty_keys.parse::<LayerName>().unwrap_err().reason,
        "the key range of a delta is empty"
    );
    let empty_lsns = format!("{key}-{}__{:016X}-{:016X}", Key::MAX, 2, 2);
    assert_eq!(
        empty_lsns.parse::<LayerName>().unwrap_err().reason,
        "the LSN range of a delta is empty"
    );
}

#[test]
fn a_delta_that_ends_right_after_the_consistent_lsn_is_not_in_the_future() {
    let delta = LayerName::delta(Key::MIN..Key::MAX, Lsn(8)..Lsn(17));
    assert!(!delta.is_in_future(Lsn(16)));
    assert!(delta.is_in_future(Lsn(15)));
    let image = LayerName::image(Key::MIN..Key::MAX, Lsn(16));
    assert!(!image.is_in_future(Lsn(16)));
    assert!(image.is_in_future(Lsn(15)));
}

fn any_key() -> impl Strategy<Value = Key> {
    any::<[u8; 18]>().prop_map(|bytes| Key::from_bytes(&bytes))
}

fn any_name() -> impl Strategy<Value = LayerName> {
    (any_key(), any_key(), any::<u64>(), any::<u64>(), any::<bool>()).prop_filter_map(
        "ranges must not be empty",
        |(a, b, c, d, is_delta)| {
            let keys = a.min(b)..a.max(b);
            let lsns = Lsn(c.min(d))..Lsn(c.max(d));
            if keys.is_empty() || lsns.is_empty() {
                return None;
            }
            Some(match is_delta {
                true => LayerName::delta(keys, lsns),
                false => LayerName::image(keys, lsns.start),
            })
        },
    )
}

proptest! {
    #[test]
    fn every_name_survives_both_spellings(name in any_name(), generation: Option<u32>) {
        let generation = generation.map_or(Generation::None, Generation::Valid);
        let local = name.local_file_name(generation);
        prop_assert_eq!(LayerName::parse_local(&local).unwrap(), (name.clone(), generation));
        let remote = name.remote_object_name(generation);
        prop_assert_eq!(LayerName::parse_remote(&remote).unwrap(), (name, generation));
    }

    #[test]
    fn parsing_any_text_does_not_panic(text: String) {
        let _ = text.parse::<LayerName>();
        let _ = LayerName::parse_remote(&text);
    }
}
