use std::collections::BTreeMap;

use bytes::Bytes;
use pageserver_api::{Value, WalRecord};
use proptest::prelude::*;
use utils::{Generation, TenantId};

use super::*;
use crate::block::{FileBlocks, MemoryBlocks};
use crate::golden::{TempDirectory, block_key, sha256, tenant, timeline};
use crate::name::LayerName;

fn image(bytes: &'static [u8]) -> Bytes {
    Value::Image(Bytes::from_static(bytes)).to_bytes()
}

fn read_all(
    reader: &DeltaLayerReader<impl crate::block::BlockReader>,
    plan: Vec<crate::PlannedBlob<DeltaEntry>>,
) -> Vec<(Key, Lsn, Bytes)> {
    let mut found = Vec::new();
    reader.read(plan, 131_072, |entry, value| found.push((entry.key, entry.lsn, value.unwrap())));
    found
}

fn golden() -> (TempDirectory, LayerName, camino::Utf8PathBuf) {
    let directory = TempDirectory::new();
    let lsns = Lsn(0x14EE151)..Lsn(0x16960E9);
    let mut writer =
        DeltaLayerWriter::create(directory.path(), tenant(), timeline(), Key::MIN, lsns).unwrap();
    let aborted = WalRecord::ClogSetAborted { xids: vec![700] };
    writer.put(block_key(7), Lsn(0x14EE160), &image(&[0xaa, 0xbb, 0xcc])).unwrap();
    let aborted = Value::WalRecord(aborted).to_bytes();
    writer.put(block_key(7), Lsn(0x14EE1A0), &aborted).unwrap();
    let (name, path, size) = writer.finish(Key::MAX, Generation::Valid(1)).unwrap();
    assert_eq!(size, 24576);
    (directory, name, path)
}

#[test]
fn the_golden_delta_layer_is_reproduced() {
    let (_directory, _, path) = golden();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 24576);
    assert_eq!(sha256(&bytes), "272d49d143a5bd0b06ba34fb07f7b2214cbd464fe9d22cc5d4ceae84844c871a");
    assert_eq!(
        path.file_name().unwrap(),
        "000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__00000000014EE151-00000000016960E9-v1-00000001"
    );
}

#[test]
fn the_golden_delta_layer_is_read_back() {
    let (_directory, name, path) = golden();
    let blocks = FileBlocks::open(path.as_std_path()).unwrap();
    let reader = DeltaLayerReader::open(blocks, tenant(), &name).unwrap();
    let values = read_all(&reader, reader.entries().unwrap());
    assert_eq!(values.len(), 2);
    assert_eq!(values[0].2, image(&[0xaa, 0xbb, 0xcc]));
    let lsns = Lsn(0x14EE151)..Lsn(0x14EE161);
    let plan = reader.plan(&[block_key(7)..block_key(8)], &lsns).unwrap();
    assert_eq!(plan.len(), 1);
}

#[test]
fn another_tenants_file_is_refused() {
    let (_directory, name, path) = golden();
    let blocks = FileBlocks::open(path.as_std_path()).unwrap();
    let error = DeltaLayerReader::open(blocks, TenantId::from_bytes([9; 16]), &name).unwrap_err();
    assert!(error.to_string().contains("in-file summary does not match expected summary"));
    assert!(error.is_permanent());
}

#[test]
fn a_zeroed_file_is_refused() {
    let (_directory, name, _) = golden();
    let blocks = MemoryBlocks::new("zeros", vec![0; 24576]);
    let error = DeltaLayerReader::open(blocks, tenant(), &name).unwrap_err();
    assert_eq!(
        error.to_string(),
        "layer file zeros, offset 0: in-file summary does not match expected summary: unknown magic number"
    );
}

#[test]
fn a_truncated_file_is_an_error_that_says_where() {
    let (_directory, name, path) = golden();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(16384);
    let error =
        DeltaLayerReader::open(MemoryBlocks::new("short", bytes), tenant(), &name).unwrap_err();
    assert_eq!(
        error.to_string(),
        "layer file short, offset 16384: the file ends early: 16384 bytes long"
    );
}

#[test]
fn an_unfinished_writer_leaves_no_file() {
    let directory = TempDirectory::new();
    let lsns = Lsn(8)..Lsn(16);
    let mut writer =
        DeltaLayerWriter::create(directory.path(), tenant(), timeline(), Key::MIN, lsns).unwrap();
    writer.put(block_key(1), Lsn(8), &image(b"x")).unwrap();
    assert_eq!(directory.file_names().len(), 1);
    assert!(directory.file_names()[0].ends_with("___temp"));
    drop(writer);
    assert!(directory.file_names().is_empty());
}

#[test]
fn an_existing_layer_is_not_replaced() {
    let directory = TempDirectory::new();
    let write = || {
        let lsns = Lsn(8)..Lsn(16);
        let mut writer =
            DeltaLayerWriter::create(directory.path(), tenant(), timeline(), Key::MIN, lsns)
                .unwrap();
        writer.put(block_key(1), Lsn(8), &image(b"x")).unwrap();
        writer.finish(Key::MAX, Generation::Valid(1))
    };
    write().unwrap();
    let error = write().unwrap_err();
    assert!(error.to_string().contains("rename temporary file as correct path for"), "{error}");
    assert_eq!(directory.file_names().len(), 1);
}

type Model = BTreeMap<(u32, u64), (bool, Vec<u8>)>;

fn any_model() -> impl Strategy<Value = Model> {
    let value = (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300));
    proptest::collection::btree_map((0u32..40, 1u64..60), value, 1..400)
}

fn serialised(will_init: bool, content: &[u8]) -> Bytes {
    let record = Bytes::copy_from_slice(content);
    Value::WalRecord(WalRecord::Postgres { will_init, record }).to_bytes()
}

fn write_model(model: &Model) -> (LayerName, Vec<u8>) {
    let directory = TempDirectory::new();
    let lsns = Lsn(1)..Lsn(60);
    let mut writer =
        DeltaLayerWriter::create(directory.path(), tenant(), timeline(), Key::MIN, lsns).unwrap();
    for ((block, lsn), (will_init, content)) in model {
        writer.put(block_key(*block), Lsn(*lsn), &serialised(*will_init, content)).unwrap();
    }
    let (name, path, _) = writer.finish(Key::MAX, Generation::None).unwrap();
    (name, std::fs::read(path).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_plan_finds_what_reconstruction_needs(
        model in any_model(), low in 0u32..40, keys in 1u32..40, from in 1u64..60, lsns in 1u64..60,
    ) {
        let (name, bytes) = write_model(&model);
        let reader =
            DeltaLayerReader::open(MemoryBlocks::new("m", bytes), tenant(), &name).unwrap();
        let (key_range, lsn_range) = (low..low + keys, from..from + lsns);
        let mut expected = Vec::new();
        for block in key_range.clone() {
            let versions = model.range((block, lsn_range.start)..(block, lsn_range.end));
            let versions: Vec<_> = versions.collect();
            let newest_init = versions.iter().rposition(|(_, (will_init, _))| *will_init);
            for ((block, lsn), (will_init, content)) in &versions[newest_init.unwrap_or(0)..] {
                expected.push((block_key(*block), Lsn(*lsn), serialised(*will_init, content)));
            }
        }
        let ranges = [block_key(key_range.start)..block_key(key_range.end)];
        let plan = reader.plan(&ranges, &(Lsn(lsn_range.start)..Lsn(lsn_range.end))).unwrap();
        prop_assert_eq!(read_all(&reader, plan), expected);
        prop_assert_eq!(reader.entries().unwrap().len(), model.len());
    }

    #[test]
    fn a_corrupt_file_never_panics(model in any_model(), flips: Vec<(usize, u8)>) {
        let (name, mut bytes) = write_model(&model);
        for (at, byte) in flips {
            let at = 96 + at % (bytes.len() - 96);
            bytes[at] ^= byte;
        }
        let blocks = MemoryBlocks::new("corrupt", bytes);
        if let Ok(reader) = DeltaLayerReader::open(blocks, tenant(), &name)
            && let Ok(plan) = reader.entries()
        {
            reader.read(plan, 1000, |_, _| {});
        }
    }
}
