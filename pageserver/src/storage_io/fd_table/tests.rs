use super::*;

fn files(directory: &tempfile::TempDir, table: &Arc<FdTable>, count: u8) -> Vec<VirtualFile> {
    (0..count)
        .map(|number| {
            let path = directory.path().join(number.to_string());
            std::fs::write(&path, [number; 16]).unwrap();
            VirtualFile::open(&path, table).unwrap()
        })
        .collect()
}

fn first_byte(file: &VirtualFile) -> u8 {
    let mut byte = [0; 1];
    file.read_exact_at(&mut byte, 15).unwrap();
    byte[0]
}

#[test]
fn more_files_than_descriptors_can_be_read() {
    let (directory, table) =
        (tempfile::tempdir().unwrap(), Arc::new(FdTable::new(3, IoMode::Buffered)));
    let files = files(&directory, &table, 20);
    for _ in 0..3 {
        for (number, file) in files.iter().enumerate() {
            assert_eq!(first_byte(file), number as u8);
        }
        assert!(table.open_count() <= 3);
    }
}

#[test]
fn a_dropped_file_gives_its_descriptor_back() {
    let (directory, table) =
        (tempfile::tempdir().unwrap(), Arc::new(FdTable::new(4, IoMode::Buffered)));
    let files = files(&directory, &table, 3);
    assert_eq!(table.open_count(), 3);
    drop(files);
    assert_eq!(table.open_count(), 0);
}

#[test]
fn a_dropped_file_leaves_the_descriptor_of_its_successor_alone() {
    let (directory, table) =
        (tempfile::tempdir().unwrap(), Arc::new(FdTable::new(1, IoMode::Buffered)));
    let mut files = files(&directory, &table, 2);
    drop(files.remove(0));
    assert_eq!(table.open_count(), 1);
    assert_eq!(first_byte(&files[0]), 1);
}

#[test]
fn many_threads_read_through_few_descriptors() {
    let (directory, table) =
        (tempfile::tempdir().unwrap(), Arc::new(FdTable::new(2, IoMode::Buffered)));
    let files = files(&directory, &table, 8);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let files = &files;
            scope.spawn(move || {
                for round in 0..500 {
                    let number = (thread * 3 + round) % files.len();
                    assert_eq!(first_byte(&files[number]), number as u8);
                }
            });
        }
    });
    assert!(table.open_count() <= 2);
}

#[test]
fn a_file_that_was_removed_meanwhile_is_an_error() {
    let (directory, table) =
        (tempfile::tempdir().unwrap(), Arc::new(FdTable::new(1, IoMode::Buffered)));
    let files = files(&directory, &table, 2);
    std::fs::remove_file(files[0].path()).unwrap();
    let error = files[0].read_exact_at(&mut [0; 1], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
