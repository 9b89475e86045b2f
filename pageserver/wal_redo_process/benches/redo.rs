//! Redo of the short and the medium chain, in process and through the helper, by 1 to 128 callers.
//!
//! What is measured is the time that one caller sees for one page while the others do the same:
//! each makes its requests back to back. `ping` is the helper's round trip with nothing to redo.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use postgres_ffi::{BLCKSZ, PgMajor};
use tokio::runtime::Runtime;
use wal_redo_process::protocol::{encode_ping, encode_request};
use wal_redo_process::{LaunchOptions, RedoProcess};

#[path = "../tests/chains/mod.rs"]
mod chains;

use chains::Chain;

const CALLERS: [u64; 6] = [1, 2, 4, 16, 64, 128];
const MAJOR: PgMajor = PgMajor::V15;

/// As the pageserver does it: a fresh page, and each record decoded.
fn redo(chain: &Chain) -> Bytes {
    let mut page = vec![0; BLCKSZ];
    let buffer: &mut [u8; BLCKSZ] = page.as_mut_slice().try_into().expect("it is a page");
    for (lsn, raw) in &chain.records {
        let record = wal_decoder::record::decode(raw, MAJOR).expect("a record");
        let (rel, block) = (chain.tag.rel, chain.tag.block);
        wal_redo::redo_record(buffer, rel, block, &record, *lsn, MAJOR).expect("it can be redone");
    }
    Bytes::from(page)
}

/// Lets `callers` tasks do `rounds` pieces of work each; the time until all are done.
fn run<F, W>(runtime: &Runtime, callers: u64, rounds: u64, work: F) -> Duration
where
    F: Fn() -> W + Clone + Send + 'static,
    W: Future<Output = ()> + Send,
{
    let started = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let work = work.clone();
                tokio::spawn(async move {
                    for _ in 0..rounds {
                        work().await;
                        // Every page is a chance for others, as a read of a timeline is.
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no task panics");
        }
    });
    started.elapsed()
}

fn in_process(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("redo/in process");
    for (name, chain) in [("short", chains::short()), ("medium", chains::medium())] {
        let chain = Arc::new(chain);
        for callers in CALLERS {
            group.bench_function(BenchmarkId::new(name, callers), |bencher| {
                bencher.iter_custom(|rounds| {
                    let chain = Arc::clone(&chain);
                    run(&runtime, callers, rounds, move || {
                        let chain = Arc::clone(&chain);
                        async move { drop(std::hint::black_box(redo(&chain))) }
                    })
                });
            });
        }
    }
    group.finish();
}

fn launch() -> RedoProcess {
    let options = LaunchOptions {
        program: PathBuf::from(env!("CARGO_BIN_EXE_wal_redo")),
        arguments: ["--wal-redo", "--pg-version", "15"].map(OsString::from).to_vec(),
        library_directory: None,
        timeout: Duration::from_secs(60),
    };
    RedoProcess::launch(&options).expect("the helper starts").process
}

fn through_the_helper(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let process = {
        let _guard = runtime.enter();
        Arc::new(launch())
    };
    let (short, medium) = (chains::short(), chains::medium());
    let requests = [
        ("ping", encode_ping(&[7; BLCKSZ])),
        ("short", encode_request(short.tag, None, &short.records)),
        ("medium", encode_request(medium.tag, None, &medium.records)),
    ];
    let mut group = criterion.benchmark_group("redo/helper");
    for (name, request) in requests {
        let request = Arc::new(request);
        for callers in CALLERS {
            group.bench_function(BenchmarkId::new(name, callers), |bencher| {
                bencher.iter_custom(|rounds| {
                    let (process, request) = (Arc::clone(&process), Arc::clone(&request));
                    run(&runtime, callers, rounds, move || {
                        let (process, request) = (Arc::clone(&process), Arc::clone(&request));
                        async move {
                            process.request(&request).await.expect("a page");
                        }
                    })
                });
            });
        }
    }
    group.finish();
    runtime.block_on(process.kill()).expect("the helper ends");
}

criterion_group! {
    name = redo_benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = in_process, through_the_helper
}
criterion_main!(redo_benches);
