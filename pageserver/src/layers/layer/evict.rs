//! Removing a layer's local file, once nobody reads it. The object stays in remote storage.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::{Inner, Layer, Residency, remove_file};
use crate::tasks::{ExitOnError, TaskKind};

/// Why a layer was not evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvictionError {
    /// The file was not here.
    #[error("layer is not resident")]
    NotFound,
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
        let mut evictions = inner.evictions.subscribe();
        {
            let mut residency = inner.lock();
            let Residency::Resident(file) = &*residency else {
                return Err(EvictionError::NotFound);
            };
            let weak = Arc::downgrade(file);
            let strong = std::mem::replace(&mut *residency, Residency::WantedEvicted(weak));
            // The file's destructor takes the lock.
            drop(residency);
            drop(strong);
        }
        let gone = tokio::time::timeout(timeout, evictions.changed()).await;
        match gone {
            Ok(_) => Ok(()),
            Err(_) if inner.resident_file(false).is_some() && !inner.is_wanted_evicted() => {
                Err(EvictionError::Downloaded)
            }
            Err(_) => Err(EvictionError::Timeout),
        }
    }
}

impl Inner {
    fn is_wanted_evicted(&self) -> bool {
        matches!(&*self.lock(), Residency::WantedEvicted(_))
    }
}

/// The last reader is gone. If that was awaited, removes the file in the background.
pub(super) fn file_dropped(layer: &Arc<Inner>) {
    if !layer.is_wanted_evicted() {
        return;
    }
    let inner = Arc::clone(layer);
    let task = async move {
        let permit = Arc::clone(&inner.init).acquire_owned().await;
        let wanted = {
            let residency = inner.lock();
            // A reader may have brought the file back before we got the permit.
            matches!(&*residency, Residency::WantedEvicted(file) if file.strong_count() == 0)
        };
        if wanted {
            let path = inner.local_path.clone();
            // A panic in there leaves the file; the next reader then finds it here.
            let _ = tokio::task::spawn_blocking(move || remove_file(&path)).await;
            *inner.lock() = Residency::Evicted;
            inner.evictions.send_modify(|count| *count += 1);
            tracing::info!("evicted layer {}", inner.name);
        }
        drop(permit);
        Ok::<(), Infallible>(())
    };
    let owner = &layer.owner;
    owner.tasks.spawn_on(&owner.runtime, TaskKind::Eviction, ExitOnError::No, task);
}
