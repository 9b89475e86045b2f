use std::collections::BTreeMap;

use bytes::Bytes;
use pageserver_api::Key;
use proptest::prelude::*;
use utils::{Generation, Lsn};

use super::*;
use crate::blob::Compression;
use crate::block::MemoryBlocks;
use crate::golden::{TempDirectory, block_key, sha256, tenant, timeline};
use crate::name::LayerName;

fn write(
    blocks: u32,
    compression: Compression,
    values: impl IntoIterator<Item = (Key, Vec<u8>)>,
) -> (LayerName, Vec<u8>) {
    let directory = TempDirectory::new();
    let keys = block_key(0)..block_key(blocks);
    let mut writer = ImageLayerWriter::create(
        directory.path(),
        tenant(),
        timeline(),
        keys,
        Lsn(0x1696000),
        compression,
    )
    .unwrap();
    for (key, value) in values {
        writer.put(key, &value).unwrap();
    }
    let (name, path, size) = writer.finish(Generation::None).unwrap();
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes.len() as u64, size);
    (name, bytes)
}

fn read(name: &LayerName, bytes: Vec<u8>, keys: std::ops::Range<Key>) -> Vec<(Key, Bytes)> {
    let reader = ImageLayerReader::open(MemoryBlocks::new("m", bytes), tenant(), name).unwrap();
    let mut found = Vec::new();
    let plan = reader.plan(&[keys]).unwrap();
    reader.read(plan, 131_072, |key, value| found.push((key, value.unwrap())));
    found
}

#[test]
fn the_small_golden_image_layer_is_reproduced() {
    let values = [(block_key(0), vec![0xaa; 8192]), (block_key(1), vec![0xbb; 3])];
    let (_, bytes) = write(2, Compression::None, values);
    assert_eq!(bytes.len(), 32768);
    assert_eq!(bytes[24576..24581], [0, 2, 0, 0, 0x12]);
    assert_eq!(sha256(&bytes), "4073d9da0f7d9a95632c12de19dc093a43dfe7e7c34b88d9218b42ee7006a36b");
}

#[test]
fn the_large_golden_image_layer_is_reproduced() {
    let values = (0..100_000u32).map(|n| (block_key(n), n.to_be_bytes().to_vec()));
    let (_, bytes) = write(100_000, Compression::None, values);
    assert_eq!(bytes.len(), 1_228_800);
    assert_eq!(sha256(&bytes), "0e791b636abc907f0ac8d6ceafc3bd564fd625b7704fc22882e2773f96132257");
}

#[test]
fn compressed_images_are_read_back() {
    let values = [(block_key(0), vec![0xaa; 8192]), (block_key(3), vec![0xbb; 8192])];
    let (name, bytes) = write(9, Compression::Zstd(1), values);
    assert_eq!(bytes.len(), 3 * 8192);
    let found = read(&name, bytes, block_key(0)..block_key(9));
    assert_eq!(found.len(), 2);
    assert_eq!(found[1], (block_key(3), Bytes::from(vec![0xbb; 8192])));
}

#[test]
fn a_layer_without_values_cannot_be_finished() {
    let directory = TempDirectory::new();
    let keys = block_key(0)..block_key(2);
    let writer = ImageLayerWriter::create(
        directory.path(),
        tenant(),
        timeline(),
        keys,
        Lsn(8),
        Compression::None,
    )
    .unwrap();
    assert!(writer.finish(Generation::None).is_err());
    assert!(directory.file_names().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_image_is_found_again(
        model in proptest::collection::btree_map(
            0u32..2000, proptest::collection::vec(any::<u8>(), 0..300), 1..500,
        ),
        low in 0u32..2000, keys in 1u32..2000, zstd: bool,
    ) {
        let compression = if zstd { Compression::Zstd(0) } else { Compression::None };
        let values: BTreeMap<Key, Vec<u8>> =
            model.into_iter().map(|(block, value)| (block_key(block), value)).collect();
        let (name, bytes) = write(4000, compression, values.clone());
        let wanted = block_key(low)..block_key(low + keys);
        let expected: Vec<_> = values
            .range(wanted.clone())
            .map(|(key, value)| (*key, Bytes::from(value.clone())))
            .collect();
        prop_assert_eq!(read(&name, bytes, wanted), expected);
    }
}
