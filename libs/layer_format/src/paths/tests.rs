use pageserver_api::Key;
use pageserver_api::shard::ShardIndex;
use utils::Lsn;

use super::*;

const TENANT: &str = "11223344556677881122334455667788";
const TIMELINE: &str = "00112233445566778899aabbccddeeff";

fn timeline() -> TimelineId {
    TIMELINE.parse().unwrap()
}

#[test]
fn a_layer_lies_under_the_shard_and_generation_that_wrote_it() {
    let name = LayerName::image(Key::MIN..Key::MAX, Lsn(0x1696000));
    let metadata = LayerFileMetadata::new(1, Generation::Valid(2), "0104".parse().unwrap());
    let path = remote_layer_path(&TENANT.parse().unwrap(), &timeline(), &name, &metadata);
    assert_eq!(path, format!("tenants/{TENANT}-0104/timelines/{TIMELINE}/{name}-00000002"));
}

#[test]
fn a_layer_of_an_unsharded_tenant_has_no_shard_in_its_path() {
    let name = LayerName::image(Key::MIN..Key::MAX, Lsn(0x1696000));
    let metadata = LayerFileMetadata::new(1, Generation::None, ShardIndex::UNSHARDED);
    let path = remote_layer_path(&TENANT.parse().unwrap(), &timeline(), &name, &metadata);
    assert_eq!(path, format!("tenants/{TENANT}/timelines/{TIMELINE}/{name}"));
}

#[test]
fn the_index_lies_under_the_shard_that_owns_it() {
    let tenant: TenantShardId = format!("{TENANT}-0104").parse().unwrap();
    assert_eq!(
        remote_index_path(&tenant, &timeline(), Generation::Valid(7)),
        format!("tenants/{TENANT}-0104/timelines/{TIMELINE}/index_part.json-00000007")
    );
    assert_eq!(remote_heatmap_path(&tenant), format!("tenants/{TENANT}-0104/heatmap-v1.json"));
}

#[test]
fn local_files_are_classified_by_name() {
    let layer = LayerName::image(Key::MIN..Key::MAX, Lsn(0x1696000));
    let check = |name: &str, kind| assert_eq!(LocalFileKind::of(name), kind, "{name}");
    check(
        &layer.local_file_name(Generation::Valid(3)),
        LocalFileKind::Layer(layer.clone(), Generation::Valid(3)),
    );
    check("ephemeral-12", LocalFileKind::Ephemeral);
    check("ephemeral-x", LocalFileKind::Unknown);
    check(&format!("{layer}.abcdefgh.___temp"), LocalFileKind::Temporary);
    check(&format!("{layer}.temp_download"), LocalFileKind::TemporaryDownload);
    check("metadata.old", LocalFileKind::LegacyBackup);
    check("metadata", LocalFileKind::Unknown);
}
