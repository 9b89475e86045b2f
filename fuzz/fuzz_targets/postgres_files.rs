//! Files of a data directory: control file, relation map, checkpoint record, segment names.
#![no_main]

use fuzz::split_major;
use libfuzzer_sys::fuzz_target;
use postgres_ffi::checkpoint::CheckPoint;
use postgres_ffi::control_file::ControlFile;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = ControlFile::parse(data) {
        assert_eq!(ControlFile::parse(&file.to_bytes()).as_ref(), Ok(&file));
    }
    if let Ok(checkpoint) = CheckPoint::decode(data) {
        assert_eq!(CheckPoint::decode(&checkpoint.encode()), Ok(checkpoint));
    }
    if let Some((major, rest)) = split_major(data) {
        let _ = postgres_ffi::relmap::parse_relmap(rest, major);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = postgres_ffi::xlog::segment::parse_segment_file_name(text);
        let _ = postgres_ffi::slru::parse_slru_segment_file_name(text);
    }
});
