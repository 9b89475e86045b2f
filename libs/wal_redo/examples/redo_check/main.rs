//! Checks the redo engine against WAL written with `wal_consistency_checking = all`.
//!
//! `redo_check <pg_wal directory> <major version>` replays every record from the oldest segment
//! on, compares each page with the image that the server logged, prints the coverage per record
//! type, and exits with an error if anything differs. It only reads.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use postgres_ffi::PgMajor;

mod wal_directory;

/// Mismatches beyond these are only counted.
const SHOWN_MISMATCHES: usize = 40;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, major] = arguments.as_slice() else {
        bail!("usage: redo_check <pg_wal directory> <major version>");
    };
    let major = major.parse::<u32>().context("the major version must be a number")?;
    let major = PgMajor::try_from(major)?;
    let (checker, _) = wal_directory::check(Path::new(directory), major, |_, _| {})?;
    println!("{}", checker.coverage());
    for mismatch in checker.mismatches().iter().take(SHOWN_MISMATCHES) {
        println!("{mismatch}");
    }
    let failures = checker.mismatches().len();
    ensure!(failures == 0, "{failures} pages differ from what the server had");
    Ok(())
}
