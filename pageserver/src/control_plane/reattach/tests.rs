use pageserver_api::models::TenantConfigOverrides;
use pageserver_api::shard::ShardIdentity;
use utils::TenantId;

use super::*;

fn shard() -> TenantShardId {
    TenantShardId::unsharded(TenantId::generate())
}

fn location(mode: LocationMode) -> LocationConf {
    LocationConf {
        mode,
        shard: ShardIdentity::unsharded(),
        tenant_conf: TenantConfigOverrides::default(),
    }
}

fn attached(generation: u32, attach_mode: AttachMode) -> LocationConf {
    location(LocationMode::Attached { generation: Generation::Valid(generation), attach_mode })
}

fn secondary(warm: bool) -> LocationConf {
    location(LocationMode::Secondary { warm })
}

fn answer(mode: LocationConfigMode, generation: Option<u32>) -> ReAttachResponseTenant {
    ReAttachResponseTenant { id: shard(), r#gen: generation, mode }
}

fn check(local: LocationConf, answer: Option<ReAttachResponseTenant>, expected: Verdict) {
    assert_eq!(decide(&shard(), local, answer.as_ref()), expected);
}

#[test]
fn a_tenant_is_attached_in_the_generation_of_the_answer() {
    let given = answer(LocationConfigMode::AttachedMulti, Some(8));
    let expected = Verdict::Keep(Box::new(attached(8, AttachMode::Multi)));
    check(attached(7, AttachMode::Single), Some(given.clone()), expected.clone());
    check(attached(8, AttachMode::Stale), Some(given.clone()), expected.clone());
    check(secondary(true), Some(given), expected);
}

#[test]
fn a_tenant_that_is_not_named_is_detached() {
    check(attached(7, AttachMode::Single), None, Verdict::Detach);
    let given = answer(LocationConfigMode::Detached, None);
    check(attached(7, AttachMode::Single), Some(given), Verdict::Detach);
}

#[test]
fn an_answer_without_a_generation_detaches() {
    let given = answer(LocationConfigMode::AttachedSingle, None);
    check(attached(7, AttachMode::Single), Some(given), Verdict::Detach);
}

#[test]
fn a_lower_generation_demotes_and_keeps_the_files() {
    let given = answer(LocationConfigMode::AttachedSingle, Some(6));
    check(attached(7, AttachMode::Single), Some(given), Verdict::Keep(Box::new(secondary(true))));
}

#[test]
fn a_secondary_stays_as_it_was() {
    let given = answer(LocationConfigMode::Secondary, None);
    check(secondary(false), Some(given.clone()), Verdict::Keep(Box::new(secondary(false))));
    check(attached(7, AttachMode::Single), Some(given), Verdict::Keep(Box::new(secondary(true))));
}
