//! Removing a layer's local file, once nobody reads it. The object stays in remote storage.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use camino::Utf8Path;
use pageserver_api::models::layer::{LayerResidenceEventReason, LayerResidenceStatus};

use super::{Inner, Layer, Residency, remove_file};
use crate::layers::metrics::{
    COMPLETED_EVICTIONS, EVICTION_HELD_PERMIT, EvictionCancelled, STARTED_EVICTIONS,
};
use crate::tasks::{ExitOnError, TaskKind};

/// Why a layer was not evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvictionError {
    /// The file was not here.
    #[error("layer is not resident")]
    NotFound,
    /// The file is not in remote storage yet, so it is all there is.
    #[error("layer is not in remote storage yet")]
    NotStored,
    /// A reader needed the file again before it was gone.
    #[error("layer was downloaded in the mean time")]
    Downloaded,
    /// Readers kept the file for too long; it will go when they are done.
    #[error("eviction did not happen within timeout")]
    Timeout,
}

impl Layer {
    /// Gives the file up and waits until it is gone.
    pub async fn evict_and_wait(&self, timeout: Duration) -> Result<(), EvictionError> {
        let inner = &self.inner;
        let deadline = tokio::time::Instant::now() + timeout;
        let (evictions, cancelled) = self.start_eviction()?;
        loop {
            let ended = inner.eviction_ended.notified();
            tokio::pin!(ended);
            // Registered before looking, so that an end in between is not missed.
            ended.as_mut().enable();
            {
                let state = inner.lock();
                if state.evictions > evictions {
                    return Ok(());
                }
                if state.cancelled_evictions > cancelled {
                    return Err(EvictionError::Downloaded);
                }
            }
            if tokio::time::timeout_at(deadline, ended).await.is_err() {
                return Err(EvictionError::Timeout);
            }
        }
    }

    /// Whether the file is here and can be had again when it is removed.
    pub fn is_evictable(&self) -> bool {
        self.is_resident() && self.is_stored()
    }

    fn is_stored(&self) -> bool {
        self.inner.owner.remote.is_stored(&self.inner.name, &self.inner.metadata)
    }

    /// Lets go of the file. Returns how many evictions had ended before, well or not.
    fn start_eviction(&self) -> Result<(u64, u64), EvictionError> {
        if !self.is_stored() {
            return Err(EvictionError::NotStored);
        }
        let mut state = self.inner.lock();
        let Residency::Resident(file) = &state.residency else {
            return Err(EvictionError::NotFound);
        };
        let weak = Arc::downgrade(file);
        let before = (state.evictions, state.cancelled_evictions);
        let strong = std::mem::replace(&mut state.residency, Residency::WantedEvicted(weak));
        STARTED_EVICTIONS.inc();
        // The file's destructor takes the lock.
        drop(state);
        drop(strong);
        Ok(before)
    }
}

/// The last reader is gone. If that was awaited, removes the file in the background.
pub(super) fn file_dropped(layer: &Arc<Inner>) {
    if !matches!(layer.lock().residency, Residency::WantedEvicted(_)) {
        return;
    }
    let inner = Arc::clone(layer);
    let task = async move {
        finish(&inner).await;
        Ok::<(), Infallible>(())
    };
    let owner = &layer.owner;
    owner.tasks.spawn_on(&owner.runtime, TaskKind::Eviction, ExitOnError::No, task);
}

async fn finish(inner: &Arc<Inner>) {
    let Ok(permit) = Arc::clone(&inner.init).acquire_owned().await else { return };
    // A reader may have brought the file back before we got the permit.
    {
        let mut state = inner.lock();
        match &state.residency {
            Residency::WantedEvicted(file) if file.strong_count() == 0 => {}
            Residency::WantedEvicted(_) | Residency::Resident(_) | Residency::Evicted => return,
        }
        if inner.owner.cancel.is_cancelled() {
            // Nobody needs the room any more, and the next attachment may want the file.
            return inner.eviction_cancelled(&mut state, EvictionCancelled::TimelineGone);
        }
    }
    let started = Instant::now();
    let path = inner.local_path.clone();
    let removal = tokio::task::spawn_blocking(move || {
        let residence = residence_of(&path);
        (remove_file(&path), residence)
    });
    // A panic in there leaves the file; the next reader then finds it here.
    let (removed, residence) = removal.await.unwrap_or((false, None));
    if residence.is_none() {
        EvictionCancelled::FileNotFound.count();
    }
    if removed {
        let owner = &inner.owner;
        let conf = owner.tenant_conf.load();
        let threshold = conf.effective.evictions_low_residence_duration_metric_threshold;
        owner.counters.record_eviction(residence.unwrap_or_default(), threshold);
        let (status, reason) =
            (LayerResidenceStatus::Evicted, LayerResidenceEventReason::ResidenceChange);
        inner.stats.record_residence(status, reason);
        let mut state = inner.lock();
        state.residency = Residency::Evicted;
        state.evictions += 1;
        state.evicted_at = Some(Instant::now());
        COMPLETED_EVICTIONS.inc();
        tracing::debug!("evicted layer {}", inner.name);
        inner.eviction_ended.notify_waiters();
    } else {
        inner.set_resident_instead_of_eviction(EvictionCancelled::RemoveFailed);
    }
    EVICTION_HELD_PERMIT.observe(started.elapsed().as_secs_f64());
    drop(permit);
}

/// How long a file has been here; `None` if it is not.
fn residence_of(path: &Utf8Path) -> Option<Duration> {
    let written = std::fs::metadata(path).and_then(|stat| stat.modified()).ok()?;
    Some(SystemTime::now().duration_since(written).unwrap_or_default())
}
