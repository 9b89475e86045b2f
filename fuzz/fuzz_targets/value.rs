//! Stored values and layer blobs: no panic, and what was read is written back alike.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pageserver_api::Value;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(value) = Value::decode(&bytes) {
        assert_eq!(Value::encoded_will_init(&bytes), Ok(value.will_init()));
        assert_eq!(Value::decode(&value.to_bytes()), Ok(value));
    }
    let _ = layer_format::blob::decode(&bytes);
});
