//! A series of records applied to the pages they name: no panic on any record over any page.
#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use fuzz::{pieces, split_major};
use libfuzzer_sys::fuzz_target;
use utils::Lsn;

fuzz_target!(|data: &[u8]| {
    let Some((major, rest)) = split_major(data) else { return };
    let mut pages = BTreeMap::new();
    for (number, raw) in pieces(rest).into_iter().take(64).enumerate() {
        let raw = Bytes::copy_from_slice(raw);
        let Ok(record) = wal_decoder::record::decode(&raw, major) else { continue };
        // Newer than any page, which would otherwise count as changed already.
        let end_lsn = Lsn((1 << 62) + 8 * (number as u64 + 1));
        for reference in &record.blocks {
            let name = (reference.rel.to_string(), reference.block);
            let before = pages.remove(&name);
            let mut page = before.unwrap_or_else(|| Box::new([0; 8192]));
            let result = wal_redo::redo_record(
                &mut page,
                reference.rel,
                reference.block,
                &record,
                end_lsn,
                major,
            );
            // After an error the page's content is unspecified; it starts anew.
            if result.is_ok() {
                pages.insert(name, page);
            }
        }
    }
});
