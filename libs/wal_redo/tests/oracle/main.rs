//! The engine against PostgreSQL itself: a stock server runs a workload with
//! `wal_consistency_checking = all`, and every page that we redo must equal its check image.
//!
//! Runs for each server found; without any, the test says so and passes.

use std::path::Path;

use anyhow::{Context, Result};
use postgres_ffi::PgMajor;

mod server;
#[path = "../../examples/redo_check/wal_directory.rs"]
mod wal_directory;

use server::Server;

fn check(major: PgMajor) -> Result<()> {
    let Some(server) = Server::start(major)? else {
        eprintln!("no PostgreSQL {major} server is installed: nothing was checked");
        return Ok(());
    };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    server.run_script(&scripts.join("workload.sql"))?;
    server.run_script(&scripts.join("indexes.sql"))?;
    server.run_concurrent_updates(&scripts)?;
    let data_directory = server.stop().context("stopping the server")?;
    let checker = wal_directory::check(&data_directory.path().join("data/pg_wal"), major)?;
    println!("{}", checker.coverage());
    let shown: Vec<_> = checker.mismatches().iter().take(20).map(ToString::to_string).collect();
    assert!(shown.is_empty(), "pages differ from the server's:\n{}", shown.join("\n"));
    let verified: u64 = checker.counts().values().map(|counts| counts.verified).sum();
    assert!(verified > 10_000, "only {verified} pages were verified");
    Ok(())
}

#[test]
fn every_page_redone_from_the_log_of_postgres_15_equals_the_servers() -> Result<()> {
    check(PgMajor::V15)
}

#[test]
fn every_page_redone_from_the_log_of_postgres_16_equals_the_servers() -> Result<()> {
    check(PgMajor::V16)
}

#[test]
fn every_page_redone_from_the_log_of_postgres_17_equals_the_servers() -> Result<()> {
    check(PgMajor::V17)
}

#[test]
fn every_page_redone_from_the_log_of_postgres_18_equals_the_servers() -> Result<()> {
    check(PgMajor::V18)
}
