use proptest::prelude::*;

use super::*;

const LENGTH: usize = 3 * 4096 + 77;

fn content() -> Vec<u8> {
    (0..LENGTH).map(|at| (at * 31 % 251) as u8).collect()
}

/// A file beside the test's program: temporary directories often lie in memory, where direct reads
/// are not to be had.
fn file_on_disk() -> (tempfile::TempDir, std::path::PathBuf) {
    let program = std::env::current_exe().unwrap();
    let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let path = directory.path().join("layer");
    std::fs::write(&path, content()).unwrap();
    (directory, path)
}

/// All alignments that a device may ask for; the real one is among them on any real device.
fn alignments() -> impl Strategy<Value = DirectAlignment> {
    (
        prop::sample::select(vec![1usize, 4, 512, 4096]),
        prop::sample::select(vec![1usize, 512, 4096]),
    )
        .prop_map(|(memory, offset)| DirectAlignment { memory, offset })
}

proptest! {
    /// The cutting and copying, on a file that does not care.
    #[test]
    fn any_part_is_read_at_any_alignment(
        alignment in alignments(),
        offset in 0..LENGTH + 10,
        length in 0..LENGTH,
        shift in 0..8usize,
    ) {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &content()).unwrap();
        let mut memory = vec![0xEE; shift + length];
        let read = alignment.read_exact_at(&file, &mut memory[shift..], offset as u64);
        match content().get(offset..offset + length) {
            Some(expected) => {
                prop_assert!(read.is_ok(), "{read:?}");
                prop_assert_eq!(&memory[shift..], expected);
            }
            None if length == 0 => {}
            None => prop_assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
        }
    }
}

#[test]
fn a_file_is_read_past_the_cache_as_through_it() {
    let (_directory, path) = file_on_disk();
    let (file, alignment) = open(&path, IoMode::Direct).unwrap();
    // Where the file system cannot, what is opened is an ordinary file.
    let read = |buffer: &mut [u8], offset: u64| match alignment {
        Some(alignment) => alignment.read_exact_at(&file, buffer, offset),
        None => file.read_exact_at(buffer, offset),
    };
    for (offset, length) in
        [(0, 1), (0, 4096), (1, 4096), (4095, 2), (77, LENGTH - 77), (LENGTH - 1, 1)]
    {
        let mut buffer = vec![0; length];
        read(&mut buffer, offset as u64).unwrap();
        assert_eq!(buffer, content()[offset..offset + length], "{length} bytes at {offset}");
    }
    let beyond = read(&mut [0; 2], LENGTH as u64 - 1).unwrap_err();
    assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_cannot_be_read_directly_is_opened_all_the_same() {
    // Files that the kernel makes up have no device.
    let (file, alignment) = open(Path::new("/proc/self/status"), IoMode::Direct).unwrap();
    assert_eq!(alignment, None);
    assert!(file.read_at(&mut [0; 10], 0).unwrap() > 0);
    let missing = open(Path::new("/nonexistent"), IoMode::Direct).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}
