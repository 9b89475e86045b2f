//! Random reads of an image layer: with and without the page cache, and with fewer descriptors
//! than files.
//!
//! `cargo bench -p pageserver --bench layer_read`

use std::hint::black_box;
use std::sync::Arc;

use camino::Utf8Path;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use layer_format::block::{BlockReader, FileBlocks};
use layer_format::{Compression, ImageLayerReader, ImageLayerWriter, LayerName};
use pageserver::storage_io::{CachedBlocks, ContentKind, ReadObserver, StorageIo};
use pageserver_api::Key;
use utils::{Generation, Lsn, TenantId, TimelineId};

/// Pages of a layer: 128 MiB, the target size of compaction.
const PAGES: u32 = 16384;
/// Keys per read: what a page request asks for.
const MAX_READ_BYTES: u64 = 128 * 1024;

struct Ignore;

impl ReadObserver for Ignore {
    fn read_bytes(&self, _: u64) {}
}

fn key(block: u32) -> Key {
    Key::new(0, 1663, 5, 16384, 0, block)
}

struct LayerFile {
    path: camino::Utf8PathBuf,
    name: LayerName,
    tenant: TenantId,
}

fn write_layer(directory: &Utf8Path, lsn: u64, pages: u32) -> LayerFile {
    let tenant = TenantId::generate();
    let (timeline, keys) = (TimelineId::generate(), key(0)..key(pages));
    let mut writer =
        ImageLayerWriter::create(directory, tenant, timeline, keys, Lsn(lsn), Compression::None)
            .expect("a temporary directory is writable");
    for block in 0..pages {
        writer.put(key(block), &[block as u8; 8192]).expect("keys ascend");
    }
    let (name, path, _) = writer.finish(Generation::Valid(1)).expect("the disk has room");
    LayerFile { path, name, tenant }
}

/// Reads pages in an order that defeats read-ahead.
fn read_some<R: BlockReader>(reader: &ImageLayerReader<R>, pages: u32, next: &mut u32) {
    *next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let page = *next % pages;
    let plan = reader.plan(&[key(page)..key(page + 1)]).expect("the index is whole");
    reader.read(plan, MAX_READ_BYTES, |_, value| {
        black_box(value.expect("the file is whole"));
    });
}

fn open_cached(layer: &LayerFile, io: &StorageIo) -> ImageLayerReader<CachedBlocks> {
    let kind = ContentKind::ImageLayerBtreeNode;
    let blocks = CachedBlocks::open(layer.path.as_std_path(), io, kind, Arc::new(Ignore))
        .expect("the file is there");
    ImageLayerReader::open(blocks, layer.tenant, &layer.name).expect("the file is whole")
}

fn one_layer(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = Utf8Path::from_path(directory.path()).expect("UTF-8");
    let layer = write_layer(directory, 0x1000, PAGES);
    let mut group = c.benchmark_group("random page of one layer");
    group.throughput(Throughput::Bytes(8192));
    let blocks = FileBlocks::open(layer.path.as_std_path()).expect("the file is there");
    let plain =
        ImageLayerReader::open(blocks, layer.tenant, &layer.name).expect("the file is whole");
    let mut next = 1;
    group.bench_function("without cache", |b| b.iter(|| read_some(&plain, PAGES, &mut next)));
    let io = StorageIo::new(100, 8192);
    let cached = open_cached(&layer, &io);
    let mut next = 1;
    group.bench_function("page cache", |b| b.iter(|| read_some(&cached, PAGES, &mut next)));
    group.finish();
}

fn many_layers(c: &mut Criterion) {
    const LAYERS: u32 = 200;
    const PAGES_EACH: u32 = 128;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = Utf8Path::from_path(directory.path()).expect("UTF-8");
    let layers: Vec<LayerFile> =
        (0..LAYERS).map(|n| write_layer(directory, 0x1000 + u64::from(n), PAGES_EACH)).collect();
    let mut group = c.benchmark_group("random page of 200 layers");
    group.throughput(Throughput::Bytes(8192));
    for descriptors in [400, 100] {
        let io = StorageIo::new(descriptors, 8192);
        let readers: Vec<_> = layers.iter().map(|layer| open_cached(layer, &io)).collect();
        let mut next = 1_u32;
        group.bench_function(format!("{descriptors} descriptors"), |b| {
            b.iter(|| {
                let reader = &readers[(next >> 16) as usize % readers.len()];
                read_some(reader, PAGES_EACH, &mut next);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, one_layer, many_layers);
criterion_main!(benches);
