use layer_format::TimelineMetadata;
use remote_storage::GenericRemoteStorage;
use utils::{Lsn, TenantId};

use super::*;
use crate::remote::testing::TestStore;

fn index(lsn: u64) -> IndexPart {
    IndexPart::empty(TimelineMetadata {
        disk_consistent_lsn: Lsn(lsn),
        prev_record_lsn: None,
        ancestor_timeline: None,
        ancestor_lsn: Lsn(0),
        latest_gc_cutoff_lsn: Lsn(8),
        initdb_lsn: Lsn(8),
        pg_version: 15,
    })
}

struct Fixture {
    store: TestStore,
    shard: TenantShardId,
    timeline: TimelineId,
}

impl Fixture {
    /// A store with an index per generation; the LSN tells them apart.
    async fn with_indexes(generations: &[(Generation, u64)]) -> Fixture {
        let fixture = Fixture {
            store: TestStore::new(),
            shard: TenantShardId::unsharded(TenantId::generate()),
            timeline: TimelineId::generate(),
        };
        for (generation, lsn) in generations {
            let path = remote_index_path(&fixture.shard, &fixture.timeline, *generation);
            fixture.store.put(&path, index(*lsn).to_json().unwrap()).await;
        }
        fixture
    }

    async fn find(&self, generation: Generation) -> Result<(u64, Generation), DownloadError> {
        let Fixture { store, shard, timeline } = self;
        let find = async |storage: &GenericRemoteStorage| {
            download_index(storage, shard, timeline, generation, &store.cancel)
                .await
                .map(|(index, generation)| (index.metadata.disk_consistent_lsn.0, generation))
        };
        let found = find(&store.storage).await;
        let backwards = find(&store.storage.with_simulated_failures(0)).await;
        assert_eq!(found.as_ref().ok(), backwards.as_ref().ok(), "the order of listings counted");
        found
    }
}

use Generation::{None as Legacy, Valid};

#[tokio::test]
async fn our_own_generation_comes_first() {
    let fixture = Fixture::with_indexes(&[(Valid(4), 32), (Valid(5), 40), (Valid(6), 48)]).await;
    assert_eq!(fixture.find(Valid(5)).await.unwrap(), (40, Valid(5)));
}

#[tokio::test]
async fn a_higher_generation_is_never_chosen() {
    let fixture = Fixture::with_indexes(&[(Valid(2), 16), (Valid(9), 72)]).await;
    assert_eq!(fixture.find(Valid(7)).await.unwrap(), (16, Valid(2)));
}

#[tokio::test]
async fn the_highest_of_the_lower_generations_is_chosen() {
    let fixture = Fixture::with_indexes(&[(Legacy, 8), (Valid(2), 16), (Valid(12), 96)]).await;
    assert_eq!(fixture.find(Valid(0x20)).await.unwrap(), (96, Valid(12)));
}

#[tokio::test]
async fn an_index_without_generation_is_the_last_resort() {
    let fixture = Fixture::with_indexes(&[(Legacy, 8), (Valid(9), 72)]).await;
    assert_eq!(fixture.find(Valid(5)).await.unwrap(), (8, Legacy));
    assert_eq!(fixture.find(Legacy).await.unwrap(), (8, Legacy));
}

#[tokio::test]
async fn no_index_is_not_found() {
    let fixture = Fixture::with_indexes(&[(Valid(9), 72)]).await;
    assert!(matches!(fixture.find(Valid(5)).await, Err(DownloadError::NotFound(_))));
}

#[tokio::test]
async fn a_corrupt_index_is_an_error_and_not_skipped() {
    let fixture = Fixture::with_indexes(&[(Valid(4), 32), (Valid(5), 40)]).await;
    let path = remote_index_path(&fixture.shard, &fixture.timeline, Valid(5));
    let whole = fixture.store.get(&path).await.unwrap();
    fixture.store.put(&path, whole.slice(..whole.len() / 2)).await;
    let error = fixture.find(Valid(5)).await.unwrap_err();
    assert!(matches!(&error, DownloadError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("index_part.json-00000005"), "{error}");
}

#[tokio::test]
async fn timelines_are_found_by_their_prefixes() {
    let fixture = Fixture::with_indexes(&[(Valid(1), 8)]).await;
    fixture.store.put(&format!("tenants/{}/timelines/nonsense/x", fixture.shard), "x").await;
    let found = list_timelines(&fixture.store.storage, &fixture.shard, &fixture.store.cancel);
    assert_eq!(found.await.unwrap(), BTreeSet::from([fixture.timeline]));
}

#[tokio::test]
async fn transient_failures_are_retried() {
    let mut fixture = Fixture::with_indexes(&[(Valid(1), 8)]).await;
    fixture.store.storage = fixture.store.storage.with_simulated_failures(2);
    assert_eq!(fixture.find(Valid(1)).await.unwrap(), (8, Valid(1)));
}
