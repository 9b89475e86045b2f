//! Fills `fuzz/corpus` with real encodings for every target:
//! `seed_corpus <corpus directory> [<major version> | <PostgreSQL data directory>]...`.
//!
//! Data directories of stopped servers add records, control files and relation maps that PostgreSQL
//! itself wrote. For a version a stock server is started that logs every type of record.

use std::collections::BTreeMap;
use std::error::Error;

use bytes::{Bytes, BytesMut};
use camino::{Utf8Path, Utf8PathBuf};
use fuzz::{TENANT, TIMELINE, WAL_START, join_pieces, last_key, write_seed};
use pg_testing::{TestCluster, bin_dir, workload};
use layer_format::{Compression, DeltaLayerWriter, ImageLayerWriter, IndexPart};
use pageserver_api::pagestream::{PagestreamRequest, PagestreamResponse, RequestBody};
use pageserver_api::{Key, Value, WalRecord};
use postgres_ffi::pg_constants::rmgr;
use postgres_ffi::xlog::{RawRecord, WalBuilder, WalIdentity};
use postgres_ffi::{CheckPoint, ForkNumber, PgMajor, RelTag};
use pq_proto::{PageserverFeedback, PgTimestamp, StandbyMessage};
use utils::{Generation, Lsn, NodeId, TenantTimelineId};
use wal_decoder::WalStreamDecoder;
use wal_quorum::TermHistory;
use wal_quorum::control_file::{ControlFile, EvictionState, ServerInfo};
use wal_quorum::messages::*;

/// With few page images, so that most seeds are changes of pages; all WAL is kept.
const SERVER_SETTINGS: &str = "
wal_level = logical
full_page_writes = off
autovacuum = off
track_commit_timestamp = on
max_prepared_transactions = 10
max_wal_size = 4GB
wal_keep_size = 10GB
max_connections = 60
";

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Longest series of records of one page.
const MAX_HISTORY: usize = 60;
/// Series of records that end with the same kind.
const SEEDS_PER_KIND: usize = 12;
/// Bytes of WAL in a seed of a whole stream.
const STREAM_SEED_BYTES: usize = 64 * 1024;
/// Single records taken from one data directory.
const MAX_RECORD_SEEDS: usize = 400;

fn main() -> Result {
    let mut arguments = std::env::args().skip(1).map(Utf8PathBuf::from);
    let corpus = arguments.next().ok_or("usage: seed_corpus <corpus> [<data directory>...]")?;
    consensus(&corpus)?;
    values_and_pages(&corpus)?;
    layers(&corpus)?;
    protocol(&corpus)?;
    wal(&corpus)?;
    for source in arguments {
        match source.as_str().parse::<u32>() {
            Ok(number) => server(&corpus, PgMajor::try_from(number)?)?,
            Err(_) => cluster(&corpus, &source)?,
        }
    }
    Ok(())
}

/// What a stock server of this version writes under the workload that redo is tested with.
fn server(corpus: &Utf8Path, major: PgMajor) -> Result {
    let mut server = TestCluster::init_with(bin_dir(major.number()));
    server.configure(SERVER_SETTINGS);
    server.start();
    workload::run(&mut server);
    server.stop("fast");
    let pgdata = Utf8PathBuf::from_path_buf(server.pgdata());
    cluster(corpus, &pgdata.map_err(|path| format!("{} is not UTF-8", path.display()))?)
}

fn consensus(corpus: &Utf8Path) -> Result {
    let term_history = TermHistory::from([(1, Lsn(0x100)), (3, Lsn(0x200))]);
    let proposer_uuid = ProposerUuid([7; 16]);
    let header = AppendRequestHeader {
        term: 3,
        term_start_lsn: Lsn(0x200),
        begin_lsn: Lsn(0x300),
        end_lsn: Lsn(0x303),
        commit_lsn: Lsn(0x250),
        truncate_lsn: Lsn(0x150),
        proposer_uuid,
    };
    let proposer = [
        ProposerMessage::Greeting(ProposerGreeting {
            pg_version: 150013,
            proposer_uuid,
            system_id: 42,
            timeline_id: TIMELINE,
            tenant_id: TENANT,
            pg_timeline: 1,
            wal_seg_size: 16 << 20,
        }),
        ProposerMessage::VoteRequest(VoteRequest { term: 3, proposer_uuid }),
        ProposerMessage::Elected(ProposerElected {
            term: 3,
            start_streaming_at: Lsn(0x180),
            term_history: term_history.clone(),
            timeline_start_lsn: Lsn(0x100),
        }),
        ProposerMessage::AppendRequest(AppendRequest { header, wal: Bytes::from_static(b"wal") }),
    ];
    let acceptor = [
        AcceptorMessage::Greeting(AcceptorGreeting { term: 3, node_id: NodeId(1) }),
        AcceptorMessage::VoteResponse(VoteResponse {
            term: 3,
            vote_given: true,
            flush_lsn: Lsn(0x300),
            truncate_lsn: Lsn(0x150),
            term_history: term_history.clone(),
            timeline_start_lsn: Lsn(0x100),
        }),
        AcceptorMessage::AppendResponse(AppendResponse {
            term: 3,
            pageserver_feedback: Some(feedback()),
            ..AppendResponse::default()
        }),
    ];
    for (number, payload) in proposer.iter().map(ProposerMessage::encode).enumerate() {
        write_seed(corpus, "proposer_acceptor", &format!("proposer{number}"), &payload)?;
    }
    for (number, payload) in acceptor.iter().map(AcceptorMessage::encode).enumerate() {
        write_seed(corpus, "proposer_acceptor", &format!("acceptor{number}"), &payload)?;
    }
    let server = ServerInfo { pg_version: 150013, system_id: 42, wal_seg_size: 16 << 20 };
    let ttid = TenantTimelineId::new(TENANT, TIMELINE);
    let mut state = ControlFile::new(ttid, server, Lsn(0x300), Lsn(0x100));
    state.acceptor_state.term_history = term_history;
    write_seed(corpus, "safekeeper_control_file", "present", &state.encode())?;
    state.eviction_state = EvictionState::Offloaded(Lsn(0x300));
    let newest = state.encode();
    write_seed(corpus, "safekeeper_control_file", "evicted", &newest)?;
    for version in 1..=8_u8 {
        let mut older = newest.clone();
        older[4] = version;
        write_seed(corpus, "safekeeper_control_file", &format!("v{version}"), &older)?;
    }
    Ok(())
}

fn feedback() -> PageserverFeedback {
    PageserverFeedback {
        current_timeline_size_bytes: 1 << 30,
        last_received_lsn: Lsn(0x300),
        disk_consistent_lsn: Lsn(0x200),
        remote_consistent_lsn: Lsn(0x100),
        reply_time: PgTimestamp(5),
        shard_number: 2,
    }
}

fn values() -> Vec<Value> {
    vec![
        Value::Image(Bytes::from(vec![3; 100])),
        Value::WalRecord(WalRecord::Postgres { will_init: true, record: vec![1; 40].into() }),
        Value::WalRecord(WalRecord::ClearVisibilityMapFlags {
            new_heap_block: Some(4),
            old_heap_block: None,
            flags: 3,
        }),
        Value::WalRecord(WalRecord::ClogSetCommitted { xids: vec![700, 701], timestamp: 9 }),
    ]
}

fn values_and_pages(corpus: &Utf8Path) -> Result {
    for (number, value) in values().iter().enumerate() {
        write_seed(corpus, "value", &format!("value{number}"), &value.to_bytes())?;
    }
    let rel = RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main };
    let bodies = [
        RequestBody::Exists(rel),
        RequestBody::Nblocks(rel),
        RequestBody::GetPage(rel, 7),
        RequestBody::DbSize(5),
        RequestBody::GetSlruSegment { kind: 0, segment: 1 },
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let request = PagestreamRequest { request_lsn: Lsn::MAX, not_modified_since: Lsn(9), body };
        write_seed(corpus, "pagestream", &format!("request{number}"), &request.encode())?;
    }
    let responses = [
        PagestreamResponse::Exists(true),
        PagestreamResponse::Nblocks(5),
        PagestreamResponse::GetPage(vec![0; 8192].into()),
        PagestreamResponse::Error("no such page".into()),
        PagestreamResponse::DbSize(4096),
        PagestreamResponse::GetSlruSegment(vec![0; 16384].into()),
    ];
    for (number, response) in responses.iter().enumerate() {
        let seed = [&[0][..], &response.encode()].concat();
        write_seed(corpus, "pagestream", &format!("response{number}"), &seed)?;
    }
    Ok(())
}

fn layers(corpus: &Utf8Path) -> Result {
    for count in [1_u8, 50] {
        let scratch = tempfile::tempdir()?;
        let directory = Utf8Path::from_path(scratch.path()).ok_or("directory is not UTF-8")?;
        let lsns = Lsn(0x100)..Lsn(0x1000);
        let mut delta = DeltaLayerWriter::create(directory, TENANT, TIMELINE, Key::MIN, lsns)?;
        let range = Key::MIN..last_key();
        let compression = Compression::Zstd(1);
        let lsn = Lsn(0x100);
        let mut image =
            ImageLayerWriter::create(directory, TENANT, TIMELINE, range, lsn, compression)?;
        for number in 1..=count {
            let mut bytes = [0; 18];
            bytes[17] = number;
            let key = Key::from_bytes(&bytes);
            for (index, value) in values().iter().enumerate() {
                delta.put(key, Lsn(0x100 + index as u64 * 8), &value.to_bytes())?;
            }
            image.put(key, &vec![number; 500])?;
        }
        let (_, path, _) = delta.finish(last_key(), Generation::None)?;
        write_seed(corpus, "delta_layer", &format!("layer{count}"), &std::fs::read(path)?)?;
        let (_, path, _) = image.finish(Generation::None)?;
        write_seed(corpus, "image_layer", &format!("layer{count}"), &std::fs::read(path)?)?;
    }
    index(corpus)
}

fn index(corpus: &Utf8Path) -> Result {
    let metadata = layer_format::TimelineMetadata {
        disk_consistent_lsn: Lsn(0x300),
        prev_record_lsn: Some(Lsn(0x200)),
        ancestor_timeline: Some(TIMELINE),
        ancestor_lsn: Lsn(0x100),
        latest_gc_cutoff_lsn: Lsn(0x100),
        initdb_lsn: Lsn(0x80),
        pg_version: 15,
    };
    let index = IndexPart::empty(metadata);
    write_seed(corpus, "index_part", "empty", &index.to_json()?)?;
    let names = [fuzz::delta_name(), fuzz::image_name()];
    for (number, name) in names.iter().enumerate() {
        let local = name.local_file_name(Generation::None);
        let remote = name.remote_object_name(Generation::Valid(5));
        write_seed(corpus, "index_part", &format!("local{number}"), local.as_bytes())?;
        write_seed(corpus, "index_part", &format!("remote{number}"), remote.as_bytes())?;
    }
    let layers = format!(
        r#"{{"version":7,"layer_metadata":{{"{}":{{"file_size":100,"generation":1}}}},"#,
        names[0]
    );
    let rest = String::from_utf8(index.to_json()?)?;
    let rest = rest.split_once("\"disk_consistent_lsn\"").ok_or("index has no LSN")?.1;
    let json = format!("{layers}\"disk_consistent_lsn\"{rest}");
    IndexPart::from_json(json.as_bytes())?;
    Ok(write_seed(corpus, "index_part", "layers", json.as_bytes())?)
}

fn protocol(corpus: &Utf8Path) -> Result {
    let startup: &[u8] = b"\0\0\0\x3a\0\x03\0\0user\0me\0options\0-c tenant_id=1 timeline_id=2\0\0";
    let mut startup = startup.to_vec();
    let length = startup.len() as u32;
    startup[..4].copy_from_slice(&length.to_be_bytes());
    write_seed(corpus, "pq_frontend", "startup", &startup)?;
    let ssl: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
    write_seed(corpus, "pq_frontend", "ssl", ssl)?;
    write_seed(corpus, "pq_frontend", "cancel", b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02")?;
    write_seed(corpus, "pq_frontend", "query", b"Q\0\0\0\x0dselect 1\0")?;
    write_seed(corpus, "pq_frontend", "copy", b"d\0\0\0\x07abcc\0\0\0\x04X\0\0\0\x04")?;
    let mut status = BytesMut::new();
    StandbyMessage::PageserverFeedback(feedback()).write(&mut status);
    write_seed(corpus, "pq_frontend", "status", &status)?;
    let mut raw = BytesMut::new();
    feedback().write(&mut raw);
    write_seed(corpus, "pq_frontend", "feedback", &raw)?;
    let server: [(&str, &[u8]); 8] = [
        ("auth", b"R\0\0\0\x08\0\0\0\0"),
        ("sasl", b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
        ("parameter", b"S\0\0\0\x0aab\0cd\0"),
        ("ready", b"Z\0\0\0\x05I"),
        ("error", b"E\0\0\0\x16SERROR\0C42601\0Moh\0\0"),
        ("row", b"D\0\0\0\x0f\0\x02\0\0\0\x01a\xff\xff\xff\xff"),
        ("copy", b"W\0\0\0\x07\0\0\0d\0\0\0\x06ab"),
        ("keepalive", b"k\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\x01"),
    ];
    for (name, seed) in server {
        write_seed(corpus, "pq_backend", name, seed)?;
    }
    Ok(())
}

fn wal(corpus: &Utf8Path) -> Result {
    for (first, major) in PgMajor::ALL.into_iter().enumerate() {
        let mut builder =
            WalBuilder::new(WalIdentity { major, system_id: 42 }, WAL_START, Lsn::INVALID);
        for length in [1, 100, 9000] {
            builder.append(&RawRecord::logical_message("p", &vec![b'm'; length]));
        }
        let chunks = builder.bytes().chunks(5000);
        let seed = [&[first as u8][..], &join_pieces(chunks)].concat();
        write_seed(corpus, "wal_stream", &format!("messages{first}"), &seed)?;
        builder.append(&RawRecord::switch());
    }
    let checkpoint = RawRecord::logical_message("p", b"m").to_bytes(Lsn(8));
    write_seed(corpus, "wal_record", "message", &[&[0][..], &checkpoint].concat())?;
    write_seed(corpus, "postgres_files", "segment", b"000000010000000000000001.partial")?;
    let zero = CheckPoint::decode(&[0; 88])?;
    Ok(write_seed(corpus, "postgres_files", "checkpoint", &zero.encode())?)
}

/// Records of a cluster's WAL and its small files.
fn cluster(corpus: &Utf8Path, data: &Utf8Path) -> Result {
    let version: u32 = std::fs::read_to_string(data.join("PG_VERSION"))?.trim().parse()?;
    let major = PgMajor::try_from(version)?;
    let first = PgMajor::ALL.iter().position(|known| *known == major).unwrap_or(0) as u8;
    let name = |what: &str| format!("pg{version}_{what}");
    let control = std::fs::read(data.join("global/pg_control"))?;
    write_seed(corpus, "postgres_files", &name("control"), &control)?;
    let relmap = std::fs::read(data.join("global/pg_filenode.map"))?;
    write_seed(corpus, "postgres_files", &name("relmap"), &[&[first][..], &relmap].concat())?;
    let mut segments: Vec<_> =
        data.join("pg_wal").read_dir_utf8()?.collect::<std::io::Result<_>>()?;
    segments
        .retain(|entry| postgres_ffi::xlog::parse_segment_file_name(entry.file_name()).is_some());
    segments.sort_by_key(|entry| entry.file_name().to_owned());
    let Some(segment) = segments.first() else { return Ok(()) };
    let (number, _) =
        postgres_ffi::xlog::parse_segment_file_name(segment.file_name()).ok_or("name")?;
    let start = Lsn(number * postgres_ffi::WAL_SEGMENT_SIZE as u64);
    let mut decoder = WalStreamDecoder::new(start, major);
    let mut records = Vec::new();
    for segment in &segments {
        decoder.feed_bytes(&std::fs::read(segment.path())?);
        while let Ok(Some((_, record))) = decoder.poll_decode() {
            records.push(record);
        }
    }
    println!("{data}: {} records", records.len());
    if let Some(segment) = segments.first() {
        let bytes = std::fs::read(segment.path())?;
        let head = bytes.get(..STREAM_SEED_BYTES).unwrap_or(&bytes);
        // The reader of this seed starts at a fixed segment; page headers name their own place.
        if start == WAL_START {
            let seed = [&[first][..], &join_pieces(head.chunks(7_777))].concat();
            write_seed(corpus, "wal_stream", &name("head"), &seed)?;
        }
    }
    let step = (records.len() / MAX_RECORD_SEEDS).max(1);
    for (number, record) in records.iter().step_by(step).enumerate() {
        let one = [&[first][..], record].concat();
        write_seed(corpus, "wal_record", &name(&format!("record{number}")), &one)?;
    }
    for (number, history) in page_histories(&records, major).iter().enumerate() {
        let seed = join_pieces(history.iter().map(|record| &record[..]));
        let what = name(&format!("page{number}"));
        write_seed(corpus, "wal_redo", &what, &[&[first][..], &seed].concat())?;
    }
    redo_seeds(corpus, &records, major, &format!("pg{version}"))
}

/// Ends of transactions have no blocks.
const NO_BLOCK: (RelTag, u32) =
    (RelTag { spcnode: 0, dbnode: 0, relnode: 0, fork: ForkNumber::Main }, 0);

/// Series of records for the targets of the resource managers, each with the page before them.
fn redo_seeds(corpus: &Utf8Path, records: &[Bytes], major: PgMajor, prefix: &str) -> Result {
    let first = PgMajor::ALL.iter().position(|known| *known == major).unwrap_or(0) as u8;
    // Of each kind of record and each role that a page has in it.
    let mut seen: BTreeMap<(u8, u8, u8, bool), usize> = BTreeMap::new();
    let mut pages: BTreeMap<(RelTag, u32), Box<[u8; 8192]>> = BTreeMap::new();
    for (number, raw) in records.iter().enumerate() {
        let end_lsn = Lsn(8 * (number as u64 + 1));
        let record = wal_decoder::record::decode(raw, major)?;
        if record.rmid == rmgr::XACT {
            let count = seen.entry((record.rmid, record.rmgr_info(), 0, false)).or_default();
            *count += 1;
            if *count <= SEEDS_PER_KIND {
                let parts = fuzz::redo::encode_record(&record, NO_BLOCK);
                let seed = join_pieces(parts.iter().map(Vec::as_slice));
                let what = format!("{prefix}_{:02x}_{count}", record.info);
                write_seed(corpus, "redo_commit_ts", &what, &[&[first][..], &seed].concat())?;
            }
        }
        for block in &record.blocks {
            let target = (block.rel, block.block);
            let page = pages.entry(target).or_insert_with(|| Box::new([0; 8192]));
            let before = page.clone();
            if wal_redo::redo_record(page, block.rel, block.block, &record, end_lsn, major).is_err()
            {
                pages.remove(&target);
                continue;
            }
            let restores = block.image.as_ref().is_some_and(|image| image.apply);
            let role = (record.rmid, record.rmgr_info(), block.id, restores);
            let count = seen.entry(role).or_default();
            let Some(name) = redo_target(record.rmid) else { continue };
            if *count >= SEEDS_PER_KIND {
                continue;
            }
            *count += 1;
            let mut parts = vec![before.to_vec()];
            parts.extend(fuzz::redo::encode_record(&record, target));
            let seed = join_pieces(parts.iter().map(Vec::as_slice));
            let image = if restores { "image" } else { "change" };
            let what = format!("{prefix}_{:02x}_{}_{image}_{count}", record.info, block.id);
            write_seed(corpus, name, &what, &[&[first][..], &seed].concat())?;
        }
    }
    Ok(())
}

/// The fuzz target of a resource manager.
fn redo_target(rmid: u8) -> Option<&'static str> {
    Some(match rmid {
        0 => "redo_xlog",
        9 => "redo_heap2",
        10 => "redo_heap",
        11 => "redo_btree",
        12 => "redo_hash",
        13 => "redo_gin",
        14 => "redo_gist",
        15 => "redo_sequence",
        16 => "redo_spgist",
        17 => "redo_brin",
        20 => "redo_generic",
        _ => return None,
    })
}

/// For every kind of record some pages' whole series of records that ends with it, from the
/// record that initialised the page on.
fn page_histories(records: &[Bytes], major: PgMajor) -> Vec<Vec<Bytes>> {
    let mut seen: BTreeMap<(u8, u8), usize> = BTreeMap::new();
    let mut pages: BTreeMap<(String, u32), Vec<Bytes>> = BTreeMap::new();
    let mut histories = Vec::new();
    for raw in records.iter().filter(|raw| raw.len() <= usize::from(u16::MAX)) {
        let Ok(record) = wal_decoder::record::decode(raw, major) else { continue };
        for block in &record.blocks {
            let history = pages.entry((block.rel.to_string(), block.block)).or_default();
            let restores = block.image.as_ref().is_some_and(|image| image.apply);
            if block.will_init || restores {
                history.clear();
            }
            history.push(raw.clone());
            let count = seen.entry((record.rmid, record.info)).or_default();
            if *count < SEEDS_PER_KIND && history.len() <= MAX_HISTORY {
                *count += 1;
                histories.push(history.clone());
            }
        }
    }
    histories
}
