//! Comparing and checking term histories.

use super::*;

fn history(entries: &[(Term, u64)]) -> TermHistory {
    TermHistory(entries.iter().map(|&(term, lsn)| TermLsn { term, lsn: Lsn(lsn) }).collect())
}

fn common(leader: &[(Term, u64)], safekeeper: &[(Term, u64)], end: u64) -> Option<(Term, u64)> {
    history(leader)
        .highest_common_point(&history(safekeeper), Lsn(end))
        .expect("histories do not conflict")
        .map(|point| (point.term, point.lsn.0))
}

#[test]
fn a_diverging_term_ends_the_common_part_where_the_first_of_both_left() {
    assert_eq!(
        common(&[(1, 10), (2, 20), (4, 40)], &[(1, 10), (2, 20), (3, 30)], 40),
        Some((2, 30))
    );
}

#[test]
fn a_shorter_log_is_common_up_to_its_end() {
    assert_eq!(common(&[(1, 10), (2, 20), (4, 40)], &[(1, 10), (2, 20)], 32), Some((2, 32)));
}

#[test]
fn within_the_leaders_own_term_everything_is_common() {
    assert_eq!(common(&[(1, 10), (2, 20)], &[(1, 10), (2, 20)], 32), Some((2, 32)));
}

#[test]
fn histories_with_different_first_terms_have_nothing_in_common() {
    assert_eq!(common(&[(0, 1)], &[(1, 1), (2, 2)], 2), None);
    assert_eq!(common(&[(1, 1)], &[], 0), None);
}

#[test]
fn a_longer_old_tail_is_cut_where_the_leader_moved_on() {
    assert_eq!(common(&[(1, 10), (3, 20)], &[(1, 10)], 50), Some((1, 20)));
}

#[test]
fn the_same_term_at_two_positions_is_a_conflict() {
    let error = history(&[(1, 10)]).highest_common_point(&history(&[(1, 11)]), Lsn(12));
    assert_eq!(error, Err(HistoryConflict { term: 1, left: Lsn(10), right: Lsn(11) }));
}

#[test]
fn cutting_keeps_entries_that_start_at_the_end() {
    let cut = history(&[(1, 10), (2, 20), (3, 30)]).up_to(Lsn(20));
    assert_eq!(cut, history(&[(1, 10), (2, 20)]));
    assert_eq!(cut.last_term(), 2);
    assert_eq!(history(&[(1, 10)]).up_to(Lsn(9)).last_term(), INVALID_TERM);
}

#[test]
fn a_leader_history_must_ascend_and_not_be_empty() {
    assert_eq!(history(&[]).check_leader_history(), Err(HistoryError::Empty));
    assert!(history(&[(1, 10), (2, 10)]).check_leader_history().is_ok());
    assert!(history(&[(2, 10), (2, 20)]).check_leader_history().is_err());
    assert!(history(&[(1, 10), (2, 9)]).check_leader_history().is_err());
}
