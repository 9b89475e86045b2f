//! Ingest into in-memory layers, in bytes per second of processor time: what one core can do, on
//! a machine that has other work too.
//!
//! `layer`: values straight into an in-memory layer, in batches as ingest makes them; with `delta` it
//! is also written out as a delta layer. `wal`: WAL bytes through the stream decoder, the record
//! decoder and ingest into an in-memory layer. `decode`: WAL bytes to records, nothing more.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use camino::Utf8Path;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nix::time::{ClockId, clock_gettime};
use pageserver::ingest::WalIngest;
use pageserver::keymap::store::KeyedValue;
use pageserver::keymap::{
    BatchEffects, DatadirModification, KeyReadError, KeyReader, KeyStore, KeyWriteError,
    RelSizeCache,
};
use pageserver::layers::InMemoryLayer;
use pageserver_api::models::AuxFilePolicy;
use pageserver_api::{Key, ShardIdentity, Value};
use postgres_ffi::xlog::{RawRecord, WalBuilder, WalIdentity};
use postgres_ffi::{CheckPoint, ForkNumber, PgMajor, RelTag};
use tokio::runtime::Runtime;
use utils::{Generation, Lsn, TenantId, TimelineId};
use wal_decoder::{WalStreamDecoder, record};

const MAJOR: PgMajor = PgMajor::V15;
const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main };
/// Bytes of values, or about as many of WAL, in one run.
const RUN_BYTES: usize = 32 << 20;
/// Values or records that are committed together.
const BATCH: usize = 100;
/// Blocks that random values are spread over.
const RANDOM_BLOCKS: u64 = 65_536;
const START: Lsn = Lsn(0x100_0000);

/// Measures processor time of the whole process.
struct CpuTime;

impl CpuTime {
    fn now() -> Duration {
        let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("the clock exists");
        Duration::from(time)
    }
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Self::now()
    }

    fn end(&self, start: Duration) -> Duration {
        Self::now() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    SmallSequential,
    SmallRandom,
    Big,
}

impl Kind {
    const ALL: [(Kind, &'static str); 3] = [
        (Kind::SmallSequential, "100 bytes sequential"),
        (Kind::SmallRandom, "100 bytes random"),
        (Kind::Big, "8 KiB"),
    ];

    fn value_bytes(self) -> usize {
        if self == Kind::Big { 8192 } else { 100 }
    }

    /// The block that value number `number` belongs to.
    fn block(self, number: u64) -> u32 {
        match self {
            Kind::SmallSequential | Kind::Big => number as u32,
            Kind::SmallRandom => {
                let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                ((mixed >> 32) % RANDOM_BLOCKS) as u32
            }
        }
    }
}

fn values(kind: Kind) -> Vec<Vec<KeyedValue>> {
    let count = RUN_BYTES / kind.value_bytes();
    let image = Bytes::from(vec![0x5A; kind.value_bytes()]);
    let value = |number: usize| {
        let key = Key::rel_block(REL, kind.block(number as u64));
        (key, START + 8 * (number as u64 + 1), Value::Image(image.clone()))
    };
    let all: Vec<KeyedValue> = (0..count).map(value).collect();
    all.chunks(BATCH).map(<[KeyedValue]>::to_vec).collect()
}

fn layer(criterion: &mut Criterion<CpuTime>) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = Utf8Path::from_path(directory.path()).expect("a path in UTF-8");
    for (group, write_delta) in [("ingest/layer", false), ("ingest/layer and delta", true)] {
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Bytes(RUN_BYTES as u64));
        for (kind, name) in Kind::ALL {
            let batches = values(kind);
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| {
                    let layer = InMemoryLayer::create(path, START).expect("a layer");
                    for batch in &batches {
                        layer.put_batch(batch).expect("room on the disk");
                    }
                    if write_delta {
                        layer.freeze(START + (1 << 40));
                        let (tenant, timeline) = (TenantId::generate(), TimelineId::generate());
                        let generation = Generation::None;
                        let images = BTreeMap::new();
                        let written = layer.write_out(&images, path, tenant, timeline, generation);
                        let (_, file, _) = written.expect("room on the disk");
                        std::fs::remove_file(file).expect("the delta was written");
                    }
                });
            });
        }
        group.finish();
    }
}

/// Values go to an in-memory layer; what ingest reads back is kept beside it.
struct Store {
    layer: InMemoryLayer,
    images: Mutex<HashMap<Key, Bytes>>,
    sizes: RelSizeCache,
    last: Mutex<Lsn>,
}

impl Store {
    fn new(path: &Utf8Path) -> Store {
        Store {
            layer: InMemoryLayer::create(path, Lsn(8)).expect("a layer"),
            images: Mutex::default(),
            sizes: RelSizeCache::new(Lsn(8)),
            last: Mutex::new(Lsn(8)),
        }
    }
}

impl KeyReader for Store {
    async fn get(&self, key: Key, lsn: Lsn) -> Result<Bytes, KeyReadError> {
        let images = self.images.lock().expect("no panic under the lock");
        images.get(&key).cloned().ok_or(KeyReadError::Missing { key, lsn })
    }

    async fn scan(
        &self,
        _range: Range<Key>,
        _lsn: Lsn,
    ) -> Result<BTreeMap<Key, Bytes>, KeyReadError> {
        Ok(BTreeMap::new())
    }

    fn rel_size_cache(&self) -> &RelSizeCache {
        &self.sizes
    }

    fn aux_file_policy(&self) -> Option<AuxFilePolicy> {
        None
    }
}

impl KeyStore for Store {
    fn last_record_lsn(&self) -> Lsn {
        *self.last.lock().expect("no panic under the lock")
    }

    fn wanted_aux_file_policy(&self) -> Option<AuxFilePolicy> {
        None
    }

    async fn write(
        &self,
        batch: Vec<KeyedValue>,
        finished: &[Lsn],
        _effects: BatchEffects,
    ) -> Result<(), KeyWriteError> {
        self.layer.put_batch(&batch).expect("room on the disk");
        let mut images = self.images.lock().expect("no panic under the lock");
        for (key, _, value) in batch {
            if let (false, Value::Image(image)) = (key.is_rel_block(), value) {
                images.insert(key, image);
            }
        }
        let mut last = self.last.lock().expect("no panic under the lock");
        *last = finished.iter().copied().fold(*last, Lsn::max);
        Ok(())
    }
}

/// An insertion of some bytes into a block, or an image of it.
fn wal_record(kind: Kind, number: u64) -> RawRecord {
    let mut rel = Vec::new();
    for word in [REL.spcnode, REL.dbnode, REL.relnode, kind.block(number / 50)] {
        rel.extend(word.to_le_bytes());
    }
    if kind == Kind::Big {
        let mut body = vec![0, 0x10, 0, 0, 0, 0x20, 0, 0, 0x02];
        body.extend(rel);
        body.extend(vec![0x5A; 8192]);
        return RawRecord { xid: 0, info: 0xB0, rmid: 0, body };
    }
    let data = [0x5A; 51];
    let mut body = vec![0, 0x20];
    body.extend((data.len() as u16).to_le_bytes());
    body.extend(rel);
    body.extend([255, 3]);
    body.extend(data);
    body.extend([1, 0, 0]);
    RawRecord { xid: 700, info: 0, rmid: 10, body }
}

fn wal_bytes(kind: Kind) -> Vec<u8> {
    let identity = WalIdentity { major: MAJOR, system_id: 1 };
    let mut builder = WalBuilder::new(identity, START, Lsn::INVALID);
    let mut number = 0;
    while builder.bytes().len() < RUN_BYTES {
        // Random means another block for every record.
        let step = if kind == Kind::SmallSequential { 1 } else { 50 };
        builder.append(&wal_record(kind, number));
        number += step;
    }
    builder.into_bytes()
}

async fn ingest_all(store: &Store, wal: &[u8]) -> u64 {
    let shard = ShardIdentity::unsharded();
    let mut ingest = WalIngest::new(store, shard, MAJOR, Lsn(16)).await.expect("a checkpoint");
    let mut modification = DatadirModification::begin(store, MAJOR, START);
    let mut decoder = WalStreamDecoder::new(START, MAJOR);
    let mut records = 0;
    // As much as a safekeeper sends at once.
    for chunk in wal.chunks(128 * 1024) {
        decoder.feed_bytes(chunk);
        while let Some((lsn, raw)) = decoder.poll_decode().expect("WAL") {
            let record = record::decode(&raw, MAJOR).expect("a record");
            ingest.ingest_record(&record, lsn, &mut modification).await.expect("ingest");
            records += 1;
            if records % BATCH as u64 == 0 {
                modification.commit().await.expect("commit");
            }
        }
        modification.commit().await.expect("commit");
    }
    records
}

/// A store with a database of one relation, which has all blocks already: what is measured is
/// changes, not growth.
async fn new_store(path: &Utf8Path) -> Store {
    let store = Store::new(path);
    let mut modification = DatadirModification::begin(&store, MAJOR, Lsn(16));
    modification.init_empty();
    modification.put_checkpoint(&CheckPoint::decode(&[0; 88]).expect("a checkpoint"));
    let created = modification.create_relation(REL, RANDOM_BLOCKS as u32).await;
    created.expect("the relation is new");
    modification.commit().await.expect("commit");
    store
}

fn wal(criterion: &mut Criterion<CpuTime>) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let path = Utf8Path::from_path(directory.path()).expect("a path in UTF-8");
    for (kind, name) in Kind::ALL {
        let wal = wal_bytes(kind);
        let mut group = criterion.benchmark_group("ingest/decode");
        group.throughput(Throughput::Bytes(wal.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let mut decoder = WalStreamDecoder::new(START, MAJOR);
                let mut blocks = 0;
                for chunk in wal.chunks(128 * 1024) {
                    decoder.feed_bytes(chunk);
                    while let Some((_, raw)) = decoder.poll_decode().expect("WAL") {
                        blocks += record::decode(&raw, MAJOR).expect("a record").blocks.len();
                    }
                }
                blocks
            });
        });
        group.finish();
        let mut group = criterion.benchmark_group("ingest/wal");
        group.throughput(Throughput::Bytes(wal.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_batched(
                || runtime.block_on(new_store(path)),
                |store| runtime.block_on(ingest_all(&store, &wal)),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group! {
    name = ingest_benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    targets = layer, wal
}
criterion_main!(ingest_benches);
