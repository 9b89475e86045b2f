//! Section: concurrency, and failures on purpose.

use std::time::Duration;

use super::ConfigError;
use super::reader::Reader;

/// Concurrency, and failures on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Tenants that load at once in the background (`concurrent_tenant_warmup`, a number in
    /// quotes), default 8.
    pub concurrent_tenant_warmup: usize,
    /// How long background work waits for tenants that load slowly
    /// (`background_task_maximum_delay`), default 10 s.
    pub background_task_maximum_delay: Duration,
    /// Heatmaps that are uploaded at once (`heatmap_upload_concurrency`), default 8.
    pub heatmap_upload_concurrency: usize,
    /// Secondary locations that download at once (`secondary_download_concurrency`), default 1.
    pub secondary_download_concurrency: usize,
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
            heatmap_upload_concurrency: take_count(reader, "heatmap_upload_concurrency", 8)?,
            secondary_download_concurrency: take_count(
                reader,
                "secondary_download_concurrency",
                1,
            )?,
            test_remote_failures: reader.take_u64("test_remote_failures")?.unwrap_or(0),
        })
    }
}

fn take_count(
    reader: &mut Reader,
    key: &'static str,
    default: usize,
) -> Result<usize, ConfigError> {
    let number = reader.take_positive(key)?;
    Ok(number.map_or(default, |number| usize::try_from(number).unwrap_or(usize::MAX)))
}
