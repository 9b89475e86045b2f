use super::*;

fn read(stats: &AccessStats, task: TaskKind) {
    stats.record_access(task, AccessKind::GetValueReconstructData);
}

#[test]
fn the_first_access_and_the_latest_sixteen_are_remembered() {
    let stats = AccessStats::default();
    for _ in 0..20 {
        read(&stats, TaskKind::PageRequestHandler);
    }
    read(&stats, TaskKind::Compaction);
    let shown = stats.render(StatsReset::NoReset);
    assert_eq!(shown.accesses_history.buffer.len(), 16);
    assert_eq!(shown.accesses_history.drop_count, 5);
    assert_eq!(shown.first.unwrap().task_kind, "PageRequestHandler");
    assert_eq!(shown.accesses_history.buffer.last().unwrap().task_kind, "Compaction");
    assert_eq!(shown.access_count_by_access_kind["GetValueReconstructData"], 21);
    assert_eq!(shown.access_count_by_access_kind["Dump"], 0);
}

#[test]
fn flags_can_be_forgotten_alone() {
    let stats = AccessStats::default();
    read(&stats, TaskKind::Compaction);
    let shown = stats.render(StatsReset::JustTaskKindFlags);
    assert_eq!(shown.task_kind_access_flag, ["Compaction"]);
    let shown = stats.render(StatsReset::AllStats);
    assert!(shown.task_kind_access_flag.is_empty());
    assert!(shown.first.is_some());
    assert_eq!(stats.render(StatsReset::NoReset).first, None);
}

#[test]
fn a_change_of_residence_counts_as_activity() {
    let stats = AccessStats::default();
    assert_eq!(stats.latest_activity(), UNIX_EPOCH);
    let before = SystemTime::now();
    let reason = LayerResidenceEventReason::ResidenceChange;
    stats.record_residence(LayerResidenceStatus::Evicted, reason);
    assert!(stats.latest_activity() >= before);
}

#[test]
fn every_task_kind_has_a_bit() {
    assert!(TaskKind::ALL.len() <= u64::BITS as usize);
}
