//! The simulation must notice when a safety rule is left out.

use super::{Mutation, run_random};

/// Fails unless some seed below 2,000 fails without the rule.
fn check(mutation: Mutation) {
    let caught = (0..2_000).find(|seed| {
        std::panic::catch_unwind(|| drop(run_random(*seed, mutation, false))).is_err()
    });
    assert!(caught.is_some(), "{mutation:?} goes unnoticed");
    eprintln!("{mutation:?} is noticed by seed {caught:?}");
}

#[test]
fn leaving_out_the_term_check_on_append_is_noticed() {
    check(Mutation::NoTermCheckOnAppend);
}

#[test]
fn committing_wal_of_earlier_terms_by_counting_is_noticed() {
    check(Mutation::NoEpochStartRule);
}

#[test]
fn truncating_after_adopting_the_history_is_noticed() {
    check(Mutation::TruncationAfterHistory);
}

#[test]
fn answering_before_syncing_is_noticed() {
    check(Mutation::NoSyncBeforeAnswer);
}
