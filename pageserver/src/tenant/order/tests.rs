use super::*;

fn id(number: u8) -> TimelineId {
    TimelineId::from_bytes([number; 16])
}

fn sort(pairs: &[(u8, Option<u8>)]) -> Result<Vec<u8>, OrderError> {
    let timelines = pairs.iter().map(|(child, parent)| (id(*child), parent.map(id))).collect();
    let ordered = ancestors_first(timelines, |parent| *parent)?;
    Ok(ordered.iter().map(|(timeline, _)| timeline.as_bytes()[0]).collect())
}

#[test]
fn branches_come_after_their_ancestors() {
    let ordered = sort(&[(1, Some(2)), (2, Some(3)), (3, None), (4, Some(3)), (5, None)]).unwrap();
    let position = |timeline: u8| ordered.iter().position(|other| *other == timeline).unwrap();
    assert_eq!(ordered.len(), 5);
    assert!(position(3) < position(2) && position(2) < position(1) && position(3) < position(4));
}

#[test]
fn a_missing_ancestor_is_named() {
    let error = sort(&[(1, Some(2))]).unwrap_err();
    assert_eq!(error, OrderError::MissingAncestor { timeline: id(1), ancestor: id(2) });
}

#[test]
fn a_cycle_is_refused() {
    assert_eq!(sort(&[(1, Some(2)), (2, Some(1))]), Err(OrderError::Cycle(vec![id(1), id(2)])));
}

#[test]
fn a_long_chain_does_not_exhaust_the_stack() {
    let chain: BTreeMap<TimelineId, Option<TimelineId>> = (0..100_000u32)
        .map(|number| {
            let id = |n: u32| {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&n.to_be_bytes());
                TimelineId::from_bytes(bytes)
            };
            (id(number), number.checked_sub(1).map(id))
        })
        .collect();
    assert_eq!(ancestors_first(chain, |parent| *parent).unwrap().len(), 100_000);
}
