//! The house rules as a ratchet: what is over a limit today is listed in `xtask/tidy.allow` with
//! its size, may shrink, and may neither grow nor gain company.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use walkdir::WalkDir;

/// Longest a source file may be, in lines, tests not counted.
const MAX_FILE_LINES: usize = 500;
/// Longest a function may be, in lines.
const MAX_FUNCTION_LINES: usize = 70;
/// What unfinished work leaves behind.
const LEFTOVERS: [&str; 6] =
    ["todo!(", "unimplemented!(", "FIXME", "XXX:", "allow(dead_code)", "dbg!("];

/// One broken rule. `subject` names the place; `size` is what the ratchet compares.
struct Finding {
    subject: String,
    size: usize,
    message: String,
}

/// Checks every Rust source file of the workspace.
pub fn run() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let allowed = read_allowances(&root.join("xtask/tidy.allow"));
    let mut broken = 0;
    let mut files = 0;
    for path in source_files(root) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        files += 1;
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        for finding in check_file(&name, &text) {
            if allowed.get(&finding.subject).is_some_and(|limit| finding.size <= *limit) {
                continue;
            }
            eprintln!("{}: {}", finding.subject, finding.message);
            broken += 1;
        }
    }
    println!("tidy: {files} files read, {broken} findings");
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn source_files(root: &Path) -> Vec<PathBuf> {
    let skipped = ["target", ".venv", "pg_install", "test_output", ".git", "node_modules"];
    let mut files: Vec<PathBuf> = WalkDir::new(root)
        .into_iter()
        .filter_entry(|entry| !skipped.iter().any(|name| entry.file_name() == *name))
        .filter_map(Result::ok)
        .map(|entry| entry.into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        // The rules' own patterns would be found here.
        .filter(|path| !path.ends_with("xtask/src/tidy.rs"))
        .collect();
    files.sort();
    files
}

fn read_allowances(path: &Path) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(subject, size)| Some((subject.trim().to_owned(), size.parse().ok()?)))
        .collect()
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/")
        || name.ends_with("/tests.rs")
        || name.ends_with("_tests.rs")
        || name.contains("/benches/")
        || name.contains("/examples/")
}

fn check_file(name: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let finding = |subject: String, size, message| Finding { subject, size, message };
    // A module's tests are introduced by the module.
    if !is_test(name) && !text.trim_start().starts_with("//!") {
        findings.push(finding(
            name.to_owned(),
            1,
            "does not open with a //! paragraph that says what it is for".to_owned(),
        ));
    }
    for (index, line) in text.lines().enumerate() {
        if let Some(leftover) = LEFTOVERS.iter().find(|leftover| line.contains(**leftover)) {
            let message = format!("line {}: leftover `{leftover}`", index + 1);
            findings.push(finding(name.to_owned(), 1, message));
        }
    }
    if is_test(name) {
        return findings;
    }
    let lines = text.lines().count();
    if lines > MAX_FILE_LINES {
        let message = format!("{lines} lines; a file has at most {MAX_FILE_LINES}");
        findings.push(finding(name.to_owned(), lines, message));
    }
    for (function, length) in long_functions(text) {
        let message = format!("{length} lines; a function has at most {MAX_FUNCTION_LINES}");
        findings.push(finding(format!("{name}::{function}"), length, message));
    }
    findings
}

/// Functions over the limit, found by indentation: formatted code closes a function with a brace
/// in the column where its signature begins.
fn long_functions(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match &open {
            None => {
                if let Some(name) = function_name(line.trim_start()) {
                    open = Some((name, indent, number));
                }
            }
            Some((name, start_indent, start)) => {
                let closes = indent == *start_indent && line.trim_start().starts_with('}');
                // A declaration without a body, as in a trait.
                let ends = indent == *start_indent && line.trim_end().ends_with(';');
                if closes || ends {
                    let length = number - start + 1;
                    if length > MAX_FUNCTION_LINES {
                        found.push((name.clone(), length));
                    }
                    open = None;
                }
            }
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut rest = line;
    for prefix in ["pub(crate) ", "pub(super) ", "pub ", "async ", "const ", "unsafe "] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    let one_line = line.trim_end().ends_with(';') || line.trim_end().ends_with('}');
    let end = name.find(['(', '<'])?;
    (!one_line).then(|| name[..end].to_owned())
}

#[cfg(test)]
mod tests;
