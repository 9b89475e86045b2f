//! Any bytes taken for an image layer file: no panic, no endless walk, and every value found can
//! be asked for.
#![no_main]

use fuzz::{TENANT, image_name, last_key};
use layer_format::ImageLayerReader;
use layer_format::block::MemoryBlocks;
use libfuzzer_sys::fuzz_target;
use pageserver_api::Key;

fuzz_target!(|data: &[u8]| {
    let blocks = MemoryBlocks::new("input", data.to_vec());
    let Ok(layer) = ImageLayerReader::open(blocks, TENANT, &image_name()) else { return };
    let Ok(plan) = layer.plan(&[Key::MIN..last_key()]) else { return };
    layer.read(plan, 128 * 1024, |_, _| {});
});
