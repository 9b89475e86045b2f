//! Deleting timelines and tenants.

use std::collections::HashMap;
use std::time::Instant;

use safekeeper_api::models::TimelineDeleteResult;
use tokio_util::sync::CancellationToken;
use utils::{TenantId, TenantTimelineId, TimelineId};

use super::Timelines;
use super::create::{remove_dir_if_exists, sync_dir};
use crate::blocking;
use crate::timeline::TimelineError;

impl Timelines {
    /// Deletes a timeline; unknown ones succeed. Ends everything that runs on it first. Its
    /// archived WAL goes too, unless `only_local`.
    pub async fn delete(
        &self,
        ttid: TenantTimelineId,
        only_local: bool,
    ) -> Result<TimelineDeleteResult, TimelineError> {
        let _exclusive = self.exclusive(ttid).await;
        if self.lock().tombstones.contains_key(&ttid) {
            return Ok(TimelineDeleteResult { dir_existed: false, was_active: false });
        }
        // It stays in the map until its directory is gone, so that a failure can be retried.
        let loaded = self.lock().timelines.get(&ttid).cloned();
        let was_active = loaded.as_ref().is_some_and(|timeline| timeline.is_active());
        if let Some(timeline) = &loaded {
            timeline.shutdown().await;
        }
        if let (Some(archive), false) = (&self.node.archive, only_local || loaded.is_none()) {
            archive.delete_timeline(ttid, &CancellationToken::new()).await?;
        }
        let dir_existed = blocking::run(|| self.remove_timeline_dir(ttid))?;
        let mut map = self.lock();
        map.timelines.remove(&ttid);
        map.tombstones.insert(ttid, Instant::now());
        drop(map);
        tracing::info!("deleted timeline {ttid}, dir_existed={dir_existed}");
        Ok(TimelineDeleteResult { dir_existed, was_active })
    }

    fn remove_timeline_dir(&self, ttid: TenantTimelineId) -> Result<bool, TimelineError> {
        let existed = remove_dir_if_exists(&self.timeline_dir(ttid))?;
        if existed {
            sync_dir(self, &self.tenant_dir(ttid.tenant_id))?;
        }
        Ok(existed)
    }

    /// Deletes every timeline of a tenant. Tries all of them even if some fail.
    pub async fn delete_tenant(
        &self,
        tenant_id: TenantId,
        only_local: bool,
    ) -> Result<HashMap<TimelineId, TimelineDeleteResult>, TimelineError> {
        let ttids: Vec<_> = {
            let map = self.lock();
            map.timelines.keys().filter(|ttid| ttid.tenant_id == tenant_id).copied().collect()
        };
        let mut deleted = HashMap::new();
        let mut failure = None;
        for ttid in ttids {
            match self.delete(ttid, only_local).await {
                Ok(result) => {
                    deleted.insert(ttid.timeline_id, result);
                }
                Err(error) => {
                    tracing::error!("cannot delete timeline {ttid}: {error}");
                    failure = Some(error);
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        blocking::run(|| {
            if remove_dir_if_exists(&self.tenant_dir(tenant_id))? {
                sync_dir(self, &self.config().workdir)?;
            }
            Ok(deleted)
        })
    }
}
