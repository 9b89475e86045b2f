//! Which source and which build a binary is made of.
//!
//! Changes with every commit, so only binaries depend on it: a library that did would be
//! rebuilt, with all its dependents, for nothing.

/// `git:<40 hexadecimal digits>`, or `git-env:<revision>` when the revision was given to the
/// build through the environment variable `GIT_VERSION`.
pub const GIT_VERSION: &str = env!("BUILD_INFO_GIT_VERSION");

/// The label of the build (environment variable `BUILD_TAG`), empty when there was none.
pub const BUILD_TAG: &str = env!("BUILD_INFO_BUILD_TAG");

#[cfg(test)]
mod tests {
    use super::GIT_VERSION;

    #[test]
    fn the_version_names_a_revision() {
        let (kind, revision) = GIT_VERSION.split_once(':').unwrap();
        assert!(["git", "git-env"].contains(&kind), "{GIT_VERSION}");
        let digits = revision.split('-').next().unwrap();
        assert!((8..=40).contains(&digits.len()), "{GIT_VERSION}");
        assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{GIT_VERSION}");
    }
}
