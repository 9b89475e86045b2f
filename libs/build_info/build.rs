//! Finds out which revision is being built.
//!
//! `GIT_VERSION` in the environment wins (for builds outside of a checkout); otherwise git
//! is asked. A build that can do neither says so with a revision of zeros.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=GIT_VERSION");
    println!("cargo:rerun-if-env-changed=BUILD_TAG");
    println!("cargo:rustc-env=BUILD_INFO_GIT_VERSION={}", git_version());
    let build_tag = std::env::var("BUILD_TAG").unwrap_or_default();
    println!("cargo:rustc-env=BUILD_INFO_BUILD_TAG={build_tag}");
}

fn git_version() -> String {
    if let Some(given) = std::env::var("GIT_VERSION").ok().filter(|text| !text.is_empty()) {
        return format!("git-env:{given}");
    }
    // The log of HEAD changes with every commit, checkout and rebase.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    match git(&["rev-parse", "HEAD"]) {
        Some(revision) => format!("git:{revision}"),
        None => format!("git:{}-unknown", "0".repeat(40)),
    }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
