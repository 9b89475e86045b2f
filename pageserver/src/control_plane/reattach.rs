//! What becomes of a local tenant, given what the control plane says. No I/O.

use pageserver_api::models::LocationConfigMode;
use pageserver_api::shard::TenantShardId;
use pageserver_api::upcalls::ReAttachResponseTenant;
use utils::Generation;

use crate::config::{AttachMode, LocationConf, LocationMode};

/// What to do with a tenant directory.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Go on with this location.
    Keep(Box<LocationConf>),
    /// Remove the directory; the objects belong to somebody else.
    Detach,
}

/// Decides for one shard. `answer` is what the control plane says of it, if anything.
pub fn decide(
    shard: &TenantShardId,
    mut local: LocationConf,
    answer: Option<&ReAttachResponseTenant>,
) -> Verdict {
    let Some(answer) = answer else { return detach(shard) };
    let attach_mode = match answer.mode {
        LocationConfigMode::AttachedSingle => AttachMode::Single,
        LocationConfigMode::AttachedMulti => AttachMode::Multi,
        LocationConfigMode::AttachedStale => AttachMode::Stale,
        LocationConfigMode::Secondary => {
            if let LocationMode::Attached { .. } = local.mode {
                local.mode = LocationMode::Secondary { warm: true };
            }
            return Verdict::Keep(Box::new(local));
        }
        LocationConfigMode::Detached => return detach(shard),
    };
    let Some(generation) = answer.r#gen.map(Generation::Valid) else {
        tracing::warn!(
            "Received invalid re-attach state for tenant {shard}: attached without a generation"
        );
        return detach(shard);
    };
    let stored = match local.mode {
        LocationMode::Attached { generation, .. } => generation,
        LocationMode::Secondary { .. } => Generation::None,
    };
    if stored > generation {
        // Data is not thrown away for a number that cannot be right, nor is it written with it.
        tracing::error!(
            "Control plane gave decreasing generation ({generation:?}) in re-attach response for \
             tenant {shard} that is attached in generation {stored:?}, demoting to secondary"
        );
        local.mode = LocationMode::Secondary { warm: true };
        return Verdict::Keep(Box::new(local));
    }
    local.mode = LocationMode::Attached { generation, attach_mode };
    Verdict::Keep(Box::new(local))
}

fn detach(shard: &TenantShardId) -> Verdict {
    tracing::info!("Detaching tenant, control plane omitted it in re-attach response: {shard}");
    Verdict::Detach
}

#[cfg(test)]
mod tests;
