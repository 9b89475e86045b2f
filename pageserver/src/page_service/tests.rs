//! The page service on a socket, with a client of its own protocol and a timeline in memory.

mod commands;
mod pages;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pageserver_api::models::AuxFilePolicy;
use pageserver_api::{Key, ShardIdentity};
use postgres_backend::AuthType;
use postgres_client::{Client, ConnectOptions};
use postgres_ffi::{BLCKSZ, ForkNumber, PgMajor, RelTag};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utils::gate::{Gate, GateGuard};
use utils::{Lsn, TenantId, TimelineId};

use super::{
    ImportFailure, LastRecord, LeaseError, LookupError, PageService, PageServiceConfig,
    ServedTimeline, ShardSelector, TenantSettings, TimelineDirectory, WaitError,
};
use crate::ingest::import::tarball::TarChunks;
use crate::keymap::memory::MemoryStore;
use crate::keymap::{DatadirModification, KeyReadError, KeyReader, KeyStore, RelSizeCache};

const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main };
const LAST: Lsn = Lsn(0x200);
const CUTOFF: Lsn = Lsn(0x80);

/// A timeline with one relation of two blocks.
struct TestTimeline {
    store: MemoryStore,
    gate: Gate,
    cancel: CancellationToken,
}

impl TestTimeline {
    async fn new() -> Self {
        let store = MemoryStore::new(PgMajor::V15);
        let mut modification = DatadirModification::begin(&store, PgMajor::V15, Lsn(0x100));
        modification.init_empty();
        modification.put_relmap(1663, 5, Bytes::from(vec![0; 512])).await.unwrap();
        modification.create_relation(REL, 2).await.unwrap();
        for block in 0..2u8 {
            let page = Bytes::from(vec![block + 1; BLCKSZ]);
            modification.put_rel_page_image(REL, u32::from(block), page);
        }
        modification.commit().await.unwrap();
        modification.set_lsn(LAST).unwrap();
        modification.commit().await.unwrap();
        TestTimeline { store, gate: Gate::new(), cancel: CancellationToken::new() }
    }
}

impl KeyReader for TestTimeline {
    async fn get(&self, key: Key, lsn: Lsn) -> Result<Bytes, KeyReadError> {
        self.store.get(key, lsn).await
    }

    async fn scan(
        &self,
        range: Range<Key>,
        lsn: Lsn,
    ) -> Result<BTreeMap<Key, Bytes>, KeyReadError> {
        self.store.scan(range, lsn).await
    }

    fn rel_size_cache(&self) -> &RelSizeCache {
        self.store.rel_size_cache()
    }

    fn aux_file_policy(&self) -> Option<AuxFilePolicy> {
        self.store.aux_file_policy()
    }
}

impl ServedTimeline for TestTimeline {
    type Guard = GateGuard;

    fn major(&self) -> PgMajor {
        PgMajor::V15
    }

    fn shard_identity(&self) -> ShardIdentity {
        ShardIdentity::unsharded()
    }

    fn last_record(&self) -> LastRecord {
        LastRecord { last: self.store.last_record_lsn(), prev: self.store.prev_record_lsn() }
    }

    fn is_branch_point(&self, _: Lsn) -> bool {
        false
    }

    fn gc_cutoff_lsn(&self) -> Lsn {
        CUTOFF
    }

    async fn wait_lsn(&self, lsn: Lsn) -> Result<(), WaitError> {
        if lsn <= self.store.last_record_lsn() {
            return Ok(());
        }
        Err(WaitError::Timeout(format!("Timed out while waiting for WAL record at LSN {lsn}")))
    }

    fn lease_lsn(&self, lsn: Lsn) -> Result<SystemTime, LeaseError> {
        if lsn < CUTOFF {
            return Err(LeaseError::GarbageCollected { lsn, cutoff: CUTOFF });
        }
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(600))
    }

    fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    fn enter(&self) -> Option<GateGuard> {
        self.gate.enter().ok()
    }

    fn uses_lazy_slru_download(&self) -> bool {
        false
    }
}

/// One tenant with one timeline.
struct TestDirectory {
    tenant: TenantId,
    timeline_id: TimelineId,
    timeline: Arc<TestTimeline>,
}

impl TimelineDirectory for TestDirectory {
    type Timeline = TestTimeline;

    async fn timeline(
        &self,
        tenant: TenantId,
        _: ShardSelector,
        timeline: TimelineId,
    ) -> Result<Arc<TestTimeline>, LookupError> {
        if tenant != self.tenant {
            return Err(LookupError::NotFound(format!("Tenant {tenant} not found")));
        }
        if timeline != self.timeline_id {
            let text = format!("Timeline {tenant}/{timeline} was not found");
            return Err(LookupError::NotFound(text));
        }
        Ok(self.timeline.clone())
    }

    async fn settings(&self, _: TenantId) -> Result<TenantSettings, LookupError> {
        Ok(TenantSettings { gc_horizon: 64, ..TenantSettings::default() })
    }

    /// Counts the bytes that arrive, and accepts as many as the LSN says.
    async fn import_basebackup(
        &self,
        _: (TenantId, TimelineId),
        base_lsn: Lsn,
        _: PgMajor,
        mut tar: TarChunks,
    ) -> Result<(), ImportFailure> {
        let mut received = 0;
        while let Some(chunk) = tar.recv().await {
            let chunk = chunk.map_err(|error| ImportFailure::Import(error.to_string()))?;
            received += chunk.len() as u64;
        }
        match received == base_lsn.0 {
            true => Ok(()),
            false => Err(ImportFailure::Import(format!("received {received} bytes"))),
        }
    }

    /// Gives up at once.
    async fn import_wal(
        &self,
        _: (TenantId, TimelineId),
        _: (Lsn, Lsn),
        _: TarChunks,
    ) -> Result<(), ImportFailure> {
        Err(ImportFailure::Import("no WAL wanted".to_owned()))
    }
}

/// The service on a port of its own.
struct Service {
    address: SocketAddr,
    tenant: TenantId,
    timeline_id: TimelineId,
    timeline: Arc<TestTimeline>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Service {
    async fn start() -> Service {
        let timeline = Arc::new(TestTimeline::new().await);
        let tenant: TenantId = "11111111111111111111111111111111".parse().unwrap();
        let timeline_id: TimelineId = "22222222222222222222222222222222".parse().unwrap();
        let directory = TestDirectory { tenant, timeline_id, timeline: timeline.clone() };
        let config = PageServiceConfig { auth_type: AuthType::Trust, auth: None, tls: None };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let service = PageService::new(Arc::new(directory), config);
        let task = tokio::spawn(service.serve(listener, cancel.clone()));
        Service { address, tenant, timeline_id, timeline, cancel, task }
    }

    async fn connect(&self) -> Client {
        let host = self.address.ip().to_string();
        ConnectOptions::new(host, self.address.port()).connect().await.unwrap()
    }

    /// A command about the service's only timeline.
    fn command(&self, verb: &str, rest: &str) -> String {
        format!("{verb} {} {} {rest}", self.tenant, self.timeline_id)
    }
}
