//! Commit records on pages of commit timestamps; see `fuzz::redo`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::redo::run_commit_timestamps(data));
