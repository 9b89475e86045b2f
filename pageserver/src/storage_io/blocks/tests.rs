use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[derive(Default)]
struct Counted(AtomicU64);

impl ReadObserver for Counted {
    fn read_bytes(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::SeqCst);
    }
}

#[test]
fn blocks_are_read_once_and_values_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer");
    std::fs::write(&path, [5; BLOCK_SIZE * 2]).unwrap();
    let (io, observer) = (StorageIo::new(4, 10), Arc::new(Counted::default()));
    let kind = ContentKind::DeltaLayerBtreeNode;
    let blocks = CachedBlocks::open(&path, &io, kind, observer.clone()).unwrap();
    for _ in 0..3 {
        assert_eq!(blocks.read_block(1).unwrap()[0], 5);
    }
    assert_eq!(observer.0.load(Ordering::SeqCst), BLOCK_SIZE as u64);
    for _ in 0..3 {
        blocks.read_exact_at(&mut [0; 100], 50).unwrap();
    }
    assert_eq!(observer.0.load(Ordering::SeqCst), BLOCK_SIZE as u64 + 300);
}

#[test]
fn a_block_beyond_the_end_is_an_error_and_is_not_cached() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer");
    std::fs::write(&path, [5; BLOCK_SIZE]).unwrap();
    let io = StorageIo::new(4, 10);
    let kind = ContentKind::DeltaLayerBtreeNode;
    let blocks = CachedBlocks::open(&path, &io, kind, Arc::new(Counted::default())).unwrap();
    let error = blocks.read_block(1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(io.pages.is_empty());
}
