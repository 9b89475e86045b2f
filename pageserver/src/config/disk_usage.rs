//! Section: eviction of layers under disk pressure. On by default, so that a disk does not fill.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::reader::Reader;

const KEY: &str = "disk_usage_based_eviction";

/// `disk_usage_based_eviction`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskUsageEvictionConfig {
    /// Whether it is on, default true.
    #[serde(default = "on")]
    pub enabled: bool,
    /// Used percentage of the disk from which on there is pressure, default 80.
    #[serde(default = "default_max_usage_pct")]
    pub max_usage_pct: u8,
    /// Free bytes below which there is pressure, default 2 GB.
    #[serde(default = "default_min_avail_bytes")]
    pub min_avail_bytes: u64,
    /// Time between looks, default 60 s.
    #[serde(default = "default_period", with = "humantime_serde")]
    pub period: Duration,
    /// Whose layers go first, default those not used for longest.
    #[serde(default)]
    pub eviction_order: EvictionOrder,
    /// Stands in for the file system in tests.
    #[serde(default)]
    pub mock_statvfs: Option<MockStatvfs>,
}

fn on() -> bool {
    true
}

fn default_max_usage_pct() -> u8 {
    80
}

fn default_min_avail_bytes() -> u64 {
    2_000_000_000
}

fn default_period() -> Duration {
    Duration::from_secs(60)
}

impl Default for DiskUsageEvictionConfig {
    fn default() -> Self {
        DiskUsageEvictionConfig {
            enabled: on(),
            max_usage_pct: default_max_usage_pct(),
            min_avail_bytes: default_min_avail_bytes(),
            period: default_period(),
            eviction_order: EvictionOrder::default(),
            mock_statvfs: None,
        }
    }
}

/// Whose layers go first. Also part of the HTTP API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "args")]
pub enum EvictionOrder {
    /// Those not used for longest, whoever owns them.
    #[default]
    AbsoluteAccessed,
    /// Each tenant's own least recently used ones in turn.
    RelativeAccessed(RelativeAccessed),
}

/// Parameters of the relative order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelativeAccessed {
    /// Whether tenants with many layers lose theirs first; otherwise each loses its oldest first.
    #[serde(default = "on")]
    pub highest_layer_count_loses_first: bool,
}

/// What a stand-in for the file system says. Test builds only.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum MockStatvfs {
    /// The disk has this size and is used by the files whose names match.
    Success {
        /// Bytes per block.
        blocksize: u64,
        /// Blocks of the disk.
        total_blocks: u64,
        /// Regular expression that the names of the counted files match; all files when absent.
        #[serde(default)]
        name_filter: Option<String>,
    },
    /// The call fails.
    Failure {
        /// How, such as `EIO`.
        mocked_error: MockedError,
    },
}

/// How the mocked call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum MockedError {
    /// An I/O error.
    #[serde(rename = "EIO")]
    Eio,
}

impl From<MockedError> for nix::errno::Errno {
    fn from(error: MockedError) -> Self {
        match error {
            MockedError::Eio => nix::errno::Errno::EIO,
        }
    }
}

/// Reads the section. `None` when it is turned off.
pub(super) fn read(reader: &mut Reader) -> Result<Option<DiskUsageEvictionConfig>, ConfigError> {
    let allowed = "a table with max_usage_pct (1 to 100), min_avail_bytes, period, and optionally \
                   enabled and eviction_order";
    let config: DiskUsageEvictionConfig = reader.take(KEY, allowed)?.unwrap_or_default();
    let invalid = |value: String, reason: &str| {
        Err(ConfigError::Invalid { key: KEY, value, reason: reason.to_owned() })
    };
    if !(1..=100).contains(&config.max_usage_pct) {
        return invalid(
            format!("max_usage_pct = {}", config.max_usage_pct),
            "expected a percentage from 1 to 100",
        );
    }
    if config.period.is_zero() {
        return invalid("period = 0".to_owned(), "expected a period above zero");
    }
    if let Some(MockStatvfs::Success { name_filter: Some(filter), .. }) = &config.mock_statvfs
        && let Err(reason) = regex_lite::Regex::new(filter)
    {
        return invalid(format!("name_filter = {filter:?}"), &reason.to_string());
    }
    if config.mock_statvfs.is_some() && !cfg!(feature = "testing") && !cfg!(test) {
        return invalid("mock_statvfs".to_owned(), "this build is not for testing");
    }
    Ok(config.enabled.then_some(config))
}
