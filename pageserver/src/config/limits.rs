//! Section: concurrency, and failures on purpose.

use super::ConfigError;
use super::reader::Reader;

/// Concurrency, and failures on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Tenants that load at once in the background (`concurrent_tenant_warmup`, a number in
    /// quotes), default 8.
    pub concurrent_tenant_warmup: usize,
    /// The first so many attempts of each remote operation fail (`test_remote_failures`),
    /// default 0.
    pub test_remote_failures: u64,
}

impl LimitsConfig {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, ConfigError> {
        let warmup: Option<std::num::NonZeroUsize> = reader.take_parsed(
            "concurrent_tenant_warmup",
            "a number of at least 1 in quotes, such as '8'",
        )?;
        Ok(LimitsConfig {
            concurrent_tenant_warmup: warmup.map_or(8, std::num::NonZeroUsize::get),
            test_remote_failures: reader.take_u64("test_remote_failures")?.unwrap_or(0),
        })
    }
}
