//! Control files, as given and with the checksum made right: no panic, and what was read is
//! written back alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal_quorum::control_file::ControlFile;

fn check(file: &[u8]) {
    if let Ok(state) = ControlFile::decode(file) {
        assert_eq!(ControlFile::decode(&state.encode()), Ok(state));
    }
}

fuzz_target!(|data: &[u8]| {
    check(data);
    let content = data.len().saturating_sub(4);
    let mut file = data[..content].to_vec();
    file.extend(crc32c::crc32c(&file).to_le_bytes());
    check(&file);
});
