//! Types of the options that are not plain numbers or durations.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How layers are compacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum CompactionAlgorithm {
    /// L0 to L1, and image layers.
    #[default]
    Legacy,
    /// Levels of growing size.
    Tiered,
}

/// Which layers leave the local disk by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum EvictionPolicy {
    /// None.
    #[default]
    NoEviction,
    /// Those that were not used for a while.
    LayerAccessThreshold(EvictionThreshold),
    /// None, but touch the layers that a restart needs. (The spelling is part of the format.)
    OnlyImitiate(EvictionThreshold),
}

/// Parameters of an eviction policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvictionThreshold {
    /// Time between looks.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub period: Duration,
    /// Time without use after which a layer may go.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub threshold: Duration,
}

/// A leaky bucket that limits page reads of some kinds of tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Throttle {
    /// The kinds of tasks it applies to; none turns it off.
    pub task_kinds: Vec<String>,
    /// Tokens at the start.
    pub initial: u32,
    /// Time between refills.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub refill_interval: Duration,
    /// Tokens per refill.
    pub refill_amount: NonZeroU32,
    /// Most tokens it can hold.
    pub max: u32,
    /// Serve waiters in order of arrival.
    pub fair: bool,
}

impl Throttle {
    /// A throttle that applies to nothing.
    pub fn disabled() -> Self {
        Throttle {
            task_kinds: Vec::new(),
            initial: 0,
            refill_interval: Duration::from_millis(1),
            refill_amount: NonZeroU32::MIN,
            max: 1,
            fair: true,
        }
    }
}

/// How auxiliary files (replication slots, logical decoding state) are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuxFilePolicy {
    /// All in one value.
    #[default]
    V1,
    /// One key per file.
    V2,
    /// Both, compared on reading.
    CrossValidation,
}

impl AuxFilePolicy {
    /// The name in configuration and index files.
    pub const fn name(self) -> &'static str {
        match self {
            AuxFilePolicy::V1 => "v1",
            AuxFilePolicy::V2 => "v2",
            AuxFilePolicy::CrossValidation => "cross-validation",
        }
    }
}

/// The text names no policy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown aux file policy {0:?}: expected v1, v2 or cross-validation")]
pub struct UnknownAuxFilePolicy(pub String);

impl FromStr for AuxFilePolicy {
    type Err = UnknownAuxFilePolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [AuxFilePolicy::V1, AuxFilePolicy::V2, AuxFilePolicy::CrossValidation]
            .into_iter()
            .find(|policy| policy.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownAuxFilePolicy(text.to_owned()))
    }
}

impl fmt::Display for AuxFilePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for AuxFilePolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl JsonSchema for AuxFilePolicy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AuxFilePolicy".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names =
            [AuxFilePolicy::V1, AuxFilePolicy::V2, AuxFilePolicy::CrossValidation].map(Self::name);
        schemars::json_schema!({ "type": "string", "enum": names })
    }
}

impl<'de> Deserialize<'de> for AuxFilePolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
