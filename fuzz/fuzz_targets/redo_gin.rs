//! Records of resource manager Gin on any page; see `fuzz::redo`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::redo::run(data, 13));
