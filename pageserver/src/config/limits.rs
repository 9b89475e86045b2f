//! Section: concurrency, and how long things may wait.

use std::time::Duration;

use super::ConfigError;
use super::reader::Reader;

/// Concurrency, and how long things may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Tenants that load at once in the background (`concurrent_tenant_warmup`, a number in
    /// quotes), default 8.
    pub concurrent_tenant_warmup: usize,
    /// How long background jobs wait for tenants to load at start
    /// (`background_task_maximum_delay`), default 10 s.
    pub background_task_maximum_delay: Duration,
    /// Unexpected downloads only warn (`ondemand_download_behavior_treat_error_as_warn`),
    /// default false.
    pub unexpected_downloads_only_warn: bool,
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
            background_task_maximum_delay: reader
                .take_duration("background_task_maximum_delay")?
                .unwrap_or(Duration::from_secs(10)),
            unexpected_downloads_only_warn: reader
                .take_bool("ondemand_download_behavior_treat_error_as_warn")?
                .unwrap_or(false),
            test_remote_failures: reader.take_u64("test_remote_failures")?.unwrap_or(0),
        })
    }
}
