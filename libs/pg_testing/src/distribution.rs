//! Where the programs of each PostgreSQL version are.

use std::path::PathBuf;

/// A directory with one directory per version, given by whoever runs the tests.
const DISTRIBUTIONS_VARIABLE: &str = "POSTGRES_DISTRIB_DIR";

/// The directory with the server's programs of a major version. Panics if there is none: a test
/// that needs a version has checked nothing without it.
pub fn bin_dir(major: u32) -> PathBuf {
    let candidates = candidates(major);
    let found = candidates.iter().find(|directory| directory.join("postgres").is_file());
    found.cloned().unwrap_or_else(|| {
        panic!(
            "PostgreSQL {major} is not installed, and this test needs it: run `make setup`, or set \
             {DISTRIBUTIONS_VARIABLE} to the directory that has v{major} in it. Searched: \
             {candidates:?}"
        )
    })
}

fn candidates(major: u32) -> Vec<PathBuf> {
    let given = std::env::var_os(DISTRIBUTIONS_VARIABLE).map(PathBuf::from);
    // Where scripts/setup.sh puts them, for the server's account and for anybody else.
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../pg_install");
    let installed = [PathBuf::from("/var/tmp/strata-pg_install"), workspace];
    let mut candidates: Vec<PathBuf> = given
        .into_iter()
        .chain(installed)
        .flat_map(|directory| {
            [directory.join(format!("v{major}")), directory.join(major.to_string())]
        })
        .collect();
    candidates.push(PathBuf::from(format!("/usr/lib/postgresql/{major}")));
    candidates.into_iter().map(|directory| directory.join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "make setup")]
    fn a_version_that_is_not_there_says_how_to_get_it() {
        bin_dir(9);
    }
}
