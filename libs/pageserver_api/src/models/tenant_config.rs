//! Options that each tenant can set for itself.
//!
//! [`TenantConfig`] has a value for every option; [`TenantConfigOverrides`] has those that were
//! set explicitly. Durations are humantime strings in JSON and TOML. Keys that are not known are
//! ignored on reading, so that older and newer versions can exchange files; routes that refuse
//! them compare with [`TenantConfig::KEYS`].

mod external;
mod values;

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use external::{UnknownOption, describe_error};
pub use values::{AuxFilePolicy, CompactionAlgorithm, EvictionPolicy, EvictionThreshold, Throttle};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const MINUTE_SECS: u64 = 60;
const HOUR_SECS: u64 = 60 * MINUTE_SECS;
const DAY_SECS: u64 = 24 * HOUR_SECS;

/// Declares the options once: both structs, the merge, the key lists and the defaults.
macro_rules! tenant_options {
    ($( $(#[doc = $doc:literal])+ $(#[serde($codec:meta)])? $name:ident: $type:ty = $default:expr; )+) => {
        /// Every option of a tenant, with a value.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub struct TenantConfig {
            $(
                $(#[doc = $doc])+
                // Only durations have a codec.
                $(#[serde($codec)] #[schemars(with = "String")])?
                pub $name: $type,
            )+
        }

        /// The options that were set explicitly for a tenant.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct TenantConfigOverrides {
            $(
                $(#[doc = $doc])+
                $(#[serde($codec)] #[schemars(with = "Option<String>")])?
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )+
        }

        impl Default for TenantConfig {
            fn default() -> Self {
                TenantConfig { $( $name: $default, )+ }
            }
        }

        impl TenantConfig {
            /// The names of all options.
            pub const KEYS: &'static [&'static str] = &[ $( stringify!($name), )+ ];
        }

        impl TenantConfigOverrides {
            /// The effective options: what is set here, else what `defaults` says.
            pub fn merge(&self, defaults: &TenantConfig) -> TenantConfig {
                TenantConfig {
                    $( $name: self.$name.clone().unwrap_or_else(|| defaults.$name.clone()), )+
                }
            }
        }
    };
}

tenant_options! {
    /// Bytes of WAL after which the open layer is frozen and written out.
    checkpoint_distance: u64 = 256 * MIB;
    /// Idle time after which the open layer is frozen and written out.
    #[serde(with = "humantime_serde")]
    checkpoint_timeout: Duration = Duration::from_secs(10 * MINUTE_SECS);
    /// Bytes that a compacted layer should have.
    compaction_target_size: u64 = 128 * MIB;
    /// Time between compactions; 0 turns them off.
    #[serde(with = "humantime_serde")]
    compaction_period: Duration = Duration::from_secs(20);
    /// Number of L0 layers that starts a compaction.
    compaction_threshold: usize = 10;
    /// How layers are compacted.
    compaction_algorithm: CompactionAlgorithm = CompactionAlgorithm::Legacy;
    /// Bytes of WAL that stay readable behind the end; 0 turns background collection off.
    gc_horizon: u64 = 64 * MIB;
    /// Time between garbage collections; 0 turns them off.
    #[serde(with = "humantime_serde")]
    gc_period: Duration = Duration::from_secs(HOUR_SECS);
    /// Number of delta layers above an image that makes a new image worth while.
    image_creation_threshold: usize = 3;
    /// Most records of one key in a row in a layer written out by a flush, where an image takes
    /// the place of the last one. A merged layer may have as many for each layer it is made of.
    max_delta_chain_length: NonZeroU32 = NonZeroU32::new(512).unwrap_or(NonZeroU32::MIN);
    /// Time that stays readable behind the end.
    #[serde(with = "humantime_serde")]
    pitr_interval: Duration = Duration::from_secs(7 * DAY_SECS);
    /// Limit for connecting to a safekeeper.
    #[serde(with = "humantime_serde")]
    walreceiver_connect_timeout: Duration = Duration::from_secs(10);
    /// Silence after which a safekeeper is replaced.
    #[serde(with = "humantime_serde")]
    lagging_wal_timeout: Duration = Duration::from_secs(10);
    /// Bytes of lag behind another safekeeper after which the current one is replaced.
    max_lsn_wal_lag: NonZeroU64 = NonZeroU64::new(GIB).unwrap_or(NonZeroU64::MIN);
    /// Record page requests in files.
    trace_read_requests: bool = false;
    /// Which layers leave the local disk by age.
    eviction_policy: EvictionPolicy = EvictionPolicy::NoEviction;
    /// Bytes that eviction under disk pressure leaves to the tenant.
    min_resident_size_override: Option<u64> = None;
    /// Evictions after a shorter residence are counted separately.
    #[serde(with = "humantime_serde")]
    evictions_low_residence_duration_metric_threshold: Duration = Duration::from_secs(DAY_SECS);
    /// Time between uploads of the list of local layers; 0 turns them off.
    #[serde(with = "humantime_serde")]
    heatmap_period: Duration = Duration::ZERO;
    /// Leave SLRU segments out of base backups.
    lazy_slru_download: bool = false;
    /// Limit on the rate of page reads.
    timeline_get_throttle: Throttle = Throttle::disabled();
    /// Rounds of L0 compaction between checks for new image layers.
    image_layer_creation_check_threshold: u8 = 2;
    /// How auxiliary files are stored in timelines that have no policy yet.
    switch_aux_file_policy: AuxFilePolicy = AuxFilePolicy::V1;
    /// How long a lease keeps a position readable.
    #[serde(with = "humantime_serde")]
    lsn_lease_length: Duration = Duration::from_secs(10 * MINUTE_SECS);
    /// The same for a position found by timestamp.
    #[serde(with = "humantime_serde")]
    lsn_lease_length_for_ts: Duration = Duration::from_secs(MINUTE_SECS);
}

/// Answer of `GET /v1/tenant/:id/config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TenantConfigResponse {
    /// What was set for the tenant.
    pub tenant_specific_overrides: TenantConfigOverrides,
    /// What is in effect.
    pub effective_config: TenantConfig,
}
