use super::*;

#[test]
fn layouts_are_parsed() {
    assert_eq!(parse_layout("current_thread").unwrap(), Layout::OneCurrentThread);
    assert_eq!(parse_layout("multi_thread:default").unwrap(), Layout::One(None));
    assert_eq!(parse_layout("multi_thread:3").unwrap(), Layout::One(Some(3)));
}

#[test]
fn a_wrong_layout_names_the_variable_and_what_is_allowed() {
    for value in ["", "many", "multi_thread:0", "multi_thread:x"] {
        let error = parse_layout(value).unwrap_err().to_string();
        assert!(error.contains(ONE_RUNTIME_VARIABLE) && error.contains("expected"), "{error}");
    }
}

#[test]
fn merged_runtimes_are_one() {
    let runtimes = Runtimes::new(Layout::One(Some(1)), 4).unwrap();
    let ids: std::collections::HashSet<_> = [RuntimeKind::ComputeRequest, RuntimeKind::Background]
        .map(|kind| runtimes.handle(kind).id().to_string())
        .into_iter()
        .collect();
    assert_eq!(ids.len(), 1);
}
