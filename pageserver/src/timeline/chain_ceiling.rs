//! The ceiling on the records that a read must apply to one key.
//!
//! A page that changes thousands of times between two image layers would make each read of it
//! apply thousands of records. When a layer is written out, every so many records of a key in a
//! row, an image of the key takes the place of a record: it holds that record's effect, reads of
//! older positions stop below it, and reads of newer ones begin there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pageserver_api::keyspace::KeySpace;
use pageserver_api::{Key, Value};
use utils::Lsn;

use super::{FlushError, PageReconstructError, Timeline};
use crate::context::{DownloadBehavior, RequestContext};
use crate::layers::{InMemoryLayer, ReconstructState};
use crate::tasks::TaskKind;

impl Timeline {
    /// The images that are to stand in a frozen layer's file instead of records. A key that
    /// cannot be read keeps its records: that is a matter of its readers, not of the flush.
    pub(super) async fn images_of_long_chains(
        &self,
        frozen: &Arc<InMemoryLayer>,
    ) -> Result<BTreeMap<(Key, Lsn), Bytes>, FlushError> {
        let ceiling = self.tenant_conf.load().effective.max_delta_chain_length;
        let ctx = RequestContext::new(TaskKind::LayerFlushTask, DownloadBehavior::Download);
        let ctx = ctx.without_access_stats();
        let mut images = BTreeMap::new();
        for (key, ends) in frozen.long_chains(ceiling) {
            let mut base: Option<(Lsn, Bytes)> = None;
            for end in ends {
                if self.cancel.is_cancelled() {
                    return Err(FlushError::Cancelled);
                }
                let image = match base.take() {
                    None => self.get(key, end, &ctx).await,
                    Some(base) => self.advance(frozen, key, base, end).await,
                };
                match image {
                    Ok(image) => {
                        images.insert((key, end), image.clone());
                        base = Some((end, image));
                    }
                    Err(error) if error.is_cancelled() => return Err(FlushError::Cancelled),
                    Err(error) => {
                        tracing::warn!("no image of {key} at {end} to shorten its chain: {error}");
                        break;
                    }
                }
            }
        }
        Ok(images)
    }

    /// The value at `end`, from that at an earlier position and the layer's values in between.
    async fn advance(
        &self,
        frozen: &InMemoryLayer,
        key: Key,
        (base_lsn, base): (Lsn, Bytes),
        end: Lsn,
    ) -> Result<Bytes, PageReconstructError> {
        let mut state = ReconstructState::not_inheriting_up_to(self.detached_at);
        frozen.gather(&KeySpace::single(key..key.next()), &(base_lsn + 1..end + 1), &mut state);
        state.push(key, base_lsn, Value::Image(base));
        match state.into_keys().remove(&key) {
            Some(Ok(state)) => self.reconstruct(key, end, state).await,
            Some(Err(error)) => Err(PageReconstructError::Value(error)),
            None => Err(self.missing_key(key, end, end)),
        }
    }
}

#[cfg(test)]
mod tests;
