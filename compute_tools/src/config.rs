//! postgresql.conf: reading the user's, deciding which settings may stand, writing ours.

mod parse;
mod policy;
mod render;

pub use parse::{ConfError, ConfSetting, parse_conf, quote_value};
pub use policy::{LagLimits, Policy, PolicyError, RefusedSetting};
pub use render::{ConfigError, PostgresConfig, RenderInput, pg_hba, render};
