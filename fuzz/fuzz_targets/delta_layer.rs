//! Any bytes taken for a delta layer file: no panic, no endless walk, and every value found can
//! be asked for.
#![no_main]

use fuzz::{TENANT, delta_name, last_key};
use layer_format::DeltaLayerReader;
use layer_format::block::MemoryBlocks;
use libfuzzer_sys::fuzz_target;
use pageserver_api::{Key, Value};
use utils::Lsn;

fuzz_target!(|data: &[u8]| {
    let blocks = MemoryBlocks::new("input", data.to_vec());
    let Ok(layer) = DeltaLayerReader::open(blocks, TENANT, &delta_name()) else { return };
    let _ = layer.entries();
    let Ok(plan) = layer.plan(&[Key::MIN..last_key()], &(Lsn(0)..Lsn::MAX)) else { return };
    layer.read(plan, 128 * 1024, |_, bytes| {
        if let Ok(bytes) = bytes {
            let _ = Value::decode(&bytes);
        }
    });
});
