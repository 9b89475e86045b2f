//! The rules find what they are for.

use super::*;

fn subjects(name: &str, text: &str) -> Vec<String> {
    check_file(name, text).into_iter().map(|finding| finding.subject).collect()
}

#[test]
fn a_file_without_an_opening_paragraph_is_found() {
    assert_eq!(subjects("a.rs", "fn main() {}\n"), ["a.rs"]);
    assert!(subjects("a.rs", "//! What it is.\n").is_empty());
}

#[test]
fn a_long_function_is_found_by_name() {
    let body = "    work();\n".repeat(MAX_FUNCTION_LINES);
    let text = format!("//! What.\n\npub async fn long<T>(x: T) {{\n{body}}}\n");
    assert_eq!(subjects("a.rs", &text), ["a.rs::long"]);
}

#[test]
fn tests_may_be_long() {
    let body = "    work();\n".repeat(MAX_FILE_LINES + 1);
    let text = format!("//! What.\n\nfn long() {{\n{body}}}\n");
    assert!(subjects("a/tests.rs", &text).is_empty());
}

#[test]
fn leftovers_are_found_in_tests_too() {
    assert_eq!(subjects("a/tests.rs", "//! What.\n// FIX\x4dE later\n"), ["a/tests.rs"]);
}
