use super::*;

#[test]
fn phases_end_when_the_endpoint_runs() {
    let board = StatusBoard::default();
    for status in [ComputeStatus::Init, ComputeStatus::Syncing, ComputeStatus::Running] {
        board.enter(status);
    }
    board.enter(ComputeStatus::Configuration);
    let names: Vec<_> = board.report().phases.iter().map(|phase| phase.name).collect();
    assert_eq!(names, [ComputeStatus::Empty, ComputeStatus::Init, ComputeStatus::Syncing]);
}

#[test]
fn a_failure_is_final_and_keeps_its_first_reason() {
    let board = StatusBoard::default();
    board.fail(&anyhow::anyhow!("cause").context("first"));
    board.fail(&anyhow::anyhow!("second"));
    board.enter(ComputeStatus::Running);
    let report = board.report();
    assert_eq!(report.status, ComputeStatus::Failed);
    assert_eq!(report.error.as_deref(), Some("first: cause"));
}

#[test]
fn the_report_speaks_the_words_of_the_launcher() {
    let board = StatusBoard::default();
    board.enter(ComputeStatus::TerminationPending);
    let json = serde_json::to_value(board.report()).unwrap();
    assert_eq!(json["status"], "termination_pending");
    assert_eq!(json["tenant"], serde_json::Value::Null);
    assert_eq!(json["commit_lsn"], "0/0");
}
