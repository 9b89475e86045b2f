//! Any bytes taken for one WAL record (the checksum is checked elsewhere): no panic, and every
//! part lies within the record.
#![no_main]

use bytes::Bytes;
use fuzz::split_major;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((major, raw)) = split_major(data) else { return };
    let raw = Bytes::copy_from_slice(raw);
    if let Ok(record) = wal_decoder::record::decode(&raw, major) {
        let parts = record.blocks.iter().map(|block| {
            block.data.len() + block.image.as_ref().map_or(0, |image| image.bytes.len())
        });
        assert!(parts.sum::<usize>() + record.main_data.len() <= raw.len());
        for image in record.blocks.iter().filter_map(|block| block.image.as_ref()) {
            let _ = wal_redo::image::restore(image);
        }
    }
});
