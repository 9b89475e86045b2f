//! Section: the control plane that hands out generations.

use super::ConfigError;
use super::reader::Reader;

/// The control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpcallConfig;

impl UpcallConfig {
    /// Keys that matter only together with `control_plane_api`.
    pub(super) const WITHOUT_EFFECT: [&'static str; 2] =
        ["control_plane_api_token", "control_plane_emergency_mode"];

    /// Refuses `control_plane_api`: a node that ignored it would use generations that the control
    /// plane may already have given to another node.
    pub(super) fn read(reader: &mut Reader) -> Result<Self, ConfigError> {
        let key = "control_plane_api";
        match reader.take_string(key)? {
            None => Ok(UpcallConfig),
            Some(url) if url.is_empty() => Ok(UpcallConfig),
            Some(url) => Err(ConfigError::Invalid {
                key,
                value: format!("'{url}'"),
                reason: "this version does not call a control plane; leave the key out, and give \
                         generations with PUT /v1/tenant/<id>/location_config"
                    .to_owned(),
            }),
        }
    }
}
