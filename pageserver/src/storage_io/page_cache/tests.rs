use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;

const KIND: ContentKind = ContentKind::ImageLayerBtreeNode;

fn block(byte: u8) -> Block {
    Arc::new([byte; BLOCK_SIZE])
}

fn key(block: u64) -> PageKey {
    PageKey { file: FileId(0), block }
}

fn read(cache: &PageCache, number: u64) -> bool {
    let mut filled = false;
    let got = cache.get(key(number), KIND, || {
        filled = true;
        Ok(block(number as u8))
    });
    assert_eq!(got.unwrap()[100], number as u8);
    !filled
}

#[test]
fn a_second_read_needs_no_fill() {
    let cache = PageCache::new(10);
    assert!(!read(&cache, 1));
    assert!(read(&cache, 1));
}

#[test]
fn the_cache_never_holds_more_than_its_size() {
    for size in [1, 10, 64, 1000, 2000] {
        let cache = PageCache::new(size);
        for number in 0..3000 {
            read(&cache, number);
            assert!(cache.len() <= size);
        }
    }
}

#[test]
fn what_is_used_often_survives_a_scan() {
    let cache = PageCache::new(10);
    for _ in 0..5 {
        read(&cache, 0);
    }
    for number in 1..20 {
        read(&cache, number);
    }
    assert!(read(&cache, 0));
}

#[test]
fn blocks_of_different_files_are_different() {
    let cache = PageCache::new(10);
    let (a, b) = (FileId::fresh(), FileId::fresh());
    assert_ne!(a, b);
    let get =
        |file, byte| cache.get(PageKey { file, block: 0 }, KIND, || Ok(block(byte))).unwrap()[0];
    assert_eq!((get(a, 1), get(b, 2), get(a, 3)), (1, 2, 1));
}

#[test]
fn a_failed_fill_leaves_nothing_behind() {
    let cache = PageCache::new(1);
    let failed = cache.get(key(1), KIND, || Err(io::ErrorKind::Other.into()));
    assert!(failed.is_err());
    assert!(cache.is_empty());
    assert!(!read(&cache, 1));
    assert!(read(&cache, 1));
}

#[test]
fn a_fill_that_panics_leaves_nothing_behind() {
    let cache = PageCache::new(1);
    let panicking = std::panic::AssertUnwindSafe(|| cache.get(key(1), KIND, || panic!("bad")));
    assert!(std::panic::catch_unwind(panicking).is_err());
    assert!(!read(&cache, 1));
}

#[test]
fn readers_of_one_block_share_one_fill() {
    let (cache, fills) = (PageCache::new(4), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let got = cache.get(key(1), KIND, || {
                    fills.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    Ok(block(7))
                });
                assert_eq!(got.unwrap()[0], 7);
            });
        }
    });
    assert_eq!(fills.load(Ordering::SeqCst), 1);
}

#[test]
fn a_reader_whose_predecessor_fails_fills_itself() {
    let (cache, fills) = (PageCache::new(4), AtomicUsize::new(0));
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let got = cache.get(key(1), KIND, || {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        match fills.fetch_add(1, Ordering::SeqCst) {
                            0 => Err(io::ErrorKind::Other.into()),
                            _ => Ok(block(7)),
                        }
                    });
                    got.is_ok()
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|ok| !**ok).count(), 1);
    assert_eq!(fills.load(Ordering::SeqCst), 2);
}

#[test]
fn more_concurrent_fills_than_slots_are_all_served() {
    let cache = PageCache::new(1);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let cache = &cache;
            scope.spawn(move || {
                let got = cache.get(key(number), KIND, || {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                    Ok(block(number as u8))
                });
                assert_eq!(got.unwrap()[0], number as u8);
            });
        }
    });
    assert!(cache.len() <= 1);
}

#[test]
fn contention_loses_no_fill_and_mixes_nothing_up() {
    let cache = PageCache::new(32);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let cache = &cache;
            scope.spawn(move || {
                let mut number = thread;
                for _ in 0..5000 {
                    number = (number * 29 + 7 * thread + 1) % 100;
                    read(cache, number);
                }
            });
        }
    });
    assert!(cache.len() <= 32);
}
