//! The explorations, small enough for every run; the large ones belong to `make simulate`.

use super::explore::{Report, explore};
use super::*;

fn two_leaders() -> Bounds {
    Bounds {
        beginning: Beginning::Empty,
        roles: vec![Role::Stream, Role::Stream],
        reach: vec![vec![0, 1], vec![1, 2]],
        records: 1,
        crashes: 0,
        ticks: 0,
        mutation: Mutation::None,
    }
}

fn everywhere() -> Vec<Vec<usize>> {
    vec![vec![0, 1, 2]; 2]
}

fn check(name: &str, bounds: &Bounds) -> Report {
    match explore(bounds) {
        Ok(report) => {
            eprintln!("{name}: {report:?}");
            assert!(report.with_commits > 0 || bounds.records == 0, "nothing was committed");
            report
        }
        Err(violation) => {
            let steps: Vec<_> = violation.steps.iter().map(|step| format!("{step:?}")).collect();
            panic!("{}\nafter\n  {}", violation.what, steps.join("\n  "));
        }
    }
}

#[test]
fn elections_from_nothing_keep_every_promise() {
    let report = check("elections", &Bounds { records: 0, ..two_leaders() });
    assert!(report.with_two_leaders > 0);
}

#[test]
fn a_leader_that_is_replaced_keeps_every_promise() {
    let beginning = Beginning::Led;
    check("replaced leader", &Bounds { beginning, ..two_leaders() });
}

#[test]
fn a_leader_beside_a_sync_keeps_every_promise() {
    let (beginning, roles) = (Beginning::Led, vec![Role::Stream, Role::Sync]);
    check("leader and sync", &Bounds { beginning, roles, ..two_leaders() });
}

#[test]
fn tails_of_dead_leaders_break_no_promise() {
    let beginning = Beginning::Diverged;
    check(
        "diverged",
        &Bounds {
            beginning,
            roles: vec![Role::Stream],
            reach: everywhere(),
            crashes: 1,
            ..two_leaders()
        },
    );
}

/// The exploration finds a run that breaks a promise when a rule is left out.
fn notices(bounds: &Bounds) {
    let violation = explore(bounds).expect_err("left out unnoticed");
    eprintln!("{:?} after {} steps: {}", bounds.mutation, violation.steps.len(), violation.what);
}

#[test]
fn leaving_out_the_term_check_on_append_is_noticed() {
    notices(&Bounds { mutation: Mutation::NoTermCheckOnAppend, ..two_leaders() });
}

#[test]
fn committing_wal_of_earlier_terms_by_counting_is_noticed() {
    let (beginning, mutation) = (Beginning::Diverged, Mutation::NoEpochStartRule);
    notices(&Bounds {
        beginning,
        mutation,
        roles: vec![Role::Stream],
        reach: everywhere(),
        ..two_leaders()
    });
}

#[test]
fn storing_the_history_before_cutting_the_log_is_noticed() {
    let (beginning, mutation) = (Beginning::Diverged, Mutation::TruncationAfterHistory);
    // The timer brings the acceptor back after its crash.
    let (roles, reach) = (vec![Role::Stream], vec![vec![0, 1]]);
    notices(&Bounds { beginning, mutation, roles, reach, crashes: 1, ticks: 1, ..two_leaders() });
}

#[test]
fn answering_before_syncing_is_noticed() {
    notices(&Bounds { mutation: Mutation::NoSyncBeforeAnswer, ..two_leaders() });
}

#[test]
#[ignore = "minutes; part of make simulate"]
fn two_leaders_that_reach_everybody_keep_every_promise() {
    check("everybody reached", &Bounds { reach: everywhere(), ..two_leaders() });
}

#[test]
#[ignore = "minutes; part of make simulate"]
fn crashes_and_reconnects_break_no_promise() {
    let beginning = Beginning::Led;
    check("a crash", &Bounds { beginning, crashes: 1, ..two_leaders() });
    check("a timer", &Bounds { beginning, ticks: 1, ..two_leaders() });
    check("two records", &Bounds { beginning, records: 2, ..two_leaders() });
}

#[test]
#[ignore = "minutes; part of make simulate"]
fn two_leaders_over_diverged_logs_break_no_promise() {
    let beginning = Beginning::Diverged;
    check("two over diverged logs", &Bounds { beginning, crashes: 1, ..two_leaders() });
}
