use super::*;

#[track_caller]
fn check(line: &str, expected: Result<(&str, &str), &str>) {
    let parsed = parse_conf(line);
    let parsed = match &parsed {
        Ok(settings) => Ok((settings[0].name.as_str(), settings[0].value.as_str())),
        Err(error) => Err(error.reason),
    };
    assert_eq!(parsed, expected);
}

#[test]
fn bare_values_end_at_a_comment() {
    check("port = 5432 # ours", Ok(("port", "5432")));
    check("fsync off", Ok(("fsync", "off")));
}

#[test]
fn names_are_lower_cased() {
    check("Shared_Buffers=1MB", Ok(("shared_buffers", "1MB")));
}

#[test]
fn quotes_and_escapes_are_resolved() {
    check(r"a='it''s \\ \t \101'", Ok(("a", "it's \\ \t A")));
}

#[test]
fn an_unclosed_quote_is_refused() {
    check("a='b", Err("its value lacks the closing quote"));
}

#[test]
fn a_line_without_value_is_refused() {
    check("fsync =", Err("it has no value"));
}

#[test]
fn includes_are_refused() {
    check("include 'other.conf'", Err("include directives are not supported in a spec"));
}

#[test]
fn the_line_number_is_told() {
    let error = parse_conf("# one\n\nfsync\n").unwrap_err();
    assert_eq!(error.line, 3);
}

#[test]
fn values_are_quoted_only_when_needed() {
    assert_eq!(quote_value("-15MB"), "-15MB");
    assert_eq!(quote_value("walproposer"), "walproposer");
    assert_eq!(quote_value("127.0.0.1"), "'127.0.0.1'");
    assert_eq!(quote_value(""), "''");
    assert_eq!(quote_value("a'b\\c\nd"), r"'a''b\\c\nd'");
}

#[test]
fn a_quoted_value_reads_back() {
    for value in ["", "a b", "it's", "back\\slash", "new\nline", "x#y"] {
        let line = format!("a={}", quote_value(value));
        assert_eq!(parse_conf(&line).unwrap()[0].value, value);
    }
}
