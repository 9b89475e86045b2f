use super::*;

fn report(shard_number: u32, received: u64) -> PageserverFeedback {
    PageserverFeedback { shard_number, last_received_lsn: Lsn(received), ..Default::default() }
}

#[test]
fn the_slowest_shard_counts() {
    let mut reports = ShardReports::default();
    reports.record(&report(0, 100));
    reports.record(&report(1, 50));
    assert_eq!(reports.slowest().last_received_lsn, Lsn(50));
}

#[test]
fn an_old_report_takes_nothing_back() {
    let mut reports = ShardReports::default();
    reports.record(&report(0, 100));
    reports.record(&report(0, 50));
    assert_eq!(reports.slowest().last_received_lsn, Lsn(100));
}

#[test]
fn impossible_shards_are_ignored() {
    let mut reports = ShardReports::default();
    reports.record(&report(200, 1));
    assert_eq!(reports.slowest(), PageserverProgress::default());
}
