//! What one safekeeper's storage does: WAL appended and synced in messages of several sizes,
//! beside the rate of plain writes and syncs of the same sizes to the same disk, and the memory
//! that idle and offloaded timelines take. The two kinds of writing take turns, so that a slow
//! minute of the disk hits both; medians are printed.
//!
//! `cargo bench -p safekeeper --bench storage -- --dir /var/tmp --timelines 10000`

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Parser;
use postgres_ffi::PgMajor;
use postgres_ffi::xlog::{RawRecord, WalBuilder, WalIdentity};
use safekeeper::config::Options;
use safekeeper::control_store::FileControlStore;
use safekeeper::durability::Durability;
use safekeeper::node::Node;
use safekeeper::runtimes::Roles;
use safekeeper::timelines::{NewTimeline, Timelines};
use safekeeper::wal_storage::{FileWalStorage, SEGMENT_SIZE, SegmentDir};
use utils::{Lsn, NodeId, TenantId, TenantTimelineId, TimelineId};
use wal_quorum::control_file::{ControlFile, EvictionState, ServerInfo};
use wal_quorum::storage::ControlStore;

const MESSAGE_BYTES: [usize; 3] = [8 << 10, 128 << 10, 1 << 20];
const START: Lsn = Lsn(0x100_0028);
const SERVER: ServerInfo =
    ServerInfo { pg_version: 150_013, system_id: 1, wal_seg_size: SEGMENT_SIZE as u32 };

#[derive(Parser)]
struct Arguments {
    /// Where to write; a directory of its own is made there and removed
    #[arg(long, default_value = "/var/tmp")]
    dir: Utf8PathBuf,
    /// Bytes to append at each size, in MiB
    #[arg(long, default_value_t = 128)]
    mebibytes: usize,
    /// How often to append that much, and to write it plainly
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How many timelines to hold in memory
    #[arg(long, default_value_t = 10_000)]
    timelines: usize,
    /// Passed by cargo; has no effect
    #[arg(long)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let dir = tempfile::tempdir_in(&arguments.dir).context("option --dir")?;
    let dir = Utf8Path::from_path(dir.path()).context("option --dir: not UTF-8")?;
    let wal = wal(arguments.mebibytes << 20);
    println!("{:>9}  {:>12}  {:>12}  {:>6}", "message", "append MiB/s", "disk MiB/s", "ratio");
    for size in MESSAGE_BYTES {
        let (mut appended, mut plain, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..arguments.rounds.max(1) {
            let before = (round % 2 == 0).then(|| plain_writes(dir, &wal, size));
            let append = rate(wal.len(), appends(dir, &wal, size)?);
            let disk = before.unwrap_or_else(|| plain_writes(dir, &wal, size))?;
            let disk = rate(wal.len(), disk);
            appended.push(append);
            plain.push(disk);
            ratios.push(append / disk);
        }
        let [append, disk, ratio] = [appended, plain, ratios].map(median);
        println!("{:>6}KiB  {append:>12.0}  {disk:>12.0}  {ratio:>6.2}", size >> 10);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        memory(&dir.join("idle"), arguments.timelines, EvictionState::Present)?;
        memory(&dir.join("offloaded"), arguments.timelines, EvictionState::Offloaded(START))
    })
}

fn rate(bytes: usize, elapsed: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / elapsed.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn wal(bytes: usize) -> Vec<u8> {
    let identity = WalIdentity { major: PgMajor::V15, system_id: SERVER.system_id };
    let mut builder = WalBuilder::new(identity, START, Lsn::INVALID);
    let record = RawRecord::logical_message("bench", &[b'x'; 400]);
    while builder.bytes().len() < bytes {
        builder.append(&record);
    }
    builder.into_bytes()
}

/// Each message is written and synced, as one that waits for its answer is.
fn appends(dir: &Utf8Path, wal: &[u8], size: usize) -> anyhow::Result<Duration> {
    let path = dir.join("append");
    fs::create_dir(&path)?;
    let segments = SegmentDir::new(&path, Durability::Synced);
    let mut storage = FileWalStorage::open(segments, PgMajor::V15, Lsn::INVALID)?;
    storage.write_first_headers(START, SERVER.system_id)?;
    storage.truncate(START)?;
    let started = Instant::now();
    let mut position = START;
    for message in wal.chunks(size) {
        storage.write(position, message)?;
        storage.flush()?;
        position = position + message.len() as u64;
    }
    let elapsed = started.elapsed();
    fs::remove_dir_all(&path)?;
    Ok(elapsed)
}

/// The same bytes, written and synced to files of segment length that are full of zeros. Making
/// them counts, because appends have to make theirs too.
fn plain_writes(dir: &Utf8Path, wal: &[u8], size: usize) -> anyhow::Result<Duration> {
    let path = dir.join("plain");
    let zeros = vec![0; SEGMENT_SIZE as usize];
    let started = Instant::now();
    let mut file = None;
    for (offset, message) in (0..).step_by(size).zip(wal.chunks(size)) {
        let within = offset % SEGMENT_SIZE;
        if within == 0 || file.is_none() {
            let new = File::create(&path)?;
            new.write_all_at(&zeros, 0)?;
            new.sync_all()?;
            file = Some(new);
        }
        if let Some(file) = &file {
            file.write_all_at(message, within)?;
            file.sync_data()?;
        }
    }
    let elapsed = started.elapsed();
    fs::remove_file(&path)?;
    Ok(elapsed)
}

/// Loads so many timelines and prints how much the process has grown by.
fn memory(dir: &Utf8Path, count: usize, state: EvictionState) -> anyhow::Result<()> {
    let tenant_id = TenantId::generate();
    for _ in 0..count {
        let ttid = TenantTimelineId::new(tenant_id, TimelineId::generate());
        let path = dir.join(tenant_id.to_string()).join(ttid.timeline_id.to_string());
        fs::create_dir_all(&path)?;
        let new = NewTimeline { ttid, server: SERVER, commit_lsn: START, local_start_lsn: START };
        let mut file = ControlFile::new(new.ttid, new.server, new.commit_lsn, new.local_start_lsn);
        file.remote_consistent_lsn = START;
        file.eviction_state = state;
        let persisted = FileControlStore::new(path, Durability::Unsynced).persist(&file);
        persisted.map_err(anyhow::Error::from_boxed)?;
    }
    let options = Options::parse_from(["safekeeper", "--no-sync"]);
    let config = options.into_config(NodeId(1), dir.to_owned())?;
    let roles = Roles::all_on(&tokio::runtime::Handle::current());
    let timelines = Timelines::new(Node::new(config, None, reqwest::Client::new(), None, roles));
    let before = resident_bytes()?;
    timelines.load_all()?;
    // Managers look at their timelines once, then wait.
    std::thread::sleep(Duration::from_secs(3));
    let loaded = timelines.all().len();
    anyhow::ensure!(loaded == count, "{loaded} of {count} timelines were loaded");
    let each = resident_bytes()?.saturating_sub(before) / count as u64;
    println!("{count} timelines, {state:?}: {each} bytes each");
    Ok(())
}

fn resident_bytes() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes << 10)
}
