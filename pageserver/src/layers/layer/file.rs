//! The open file of a resident layer. Its last drop is what completes an eviction.

use std::sync::{Arc, OnceLock, Weak};

use layer_format::{DeltaLayerReader, ImageLayerReader, LayerFileError, LayerName};

use super::{Inner, LayerAccessError, evict};
use crate::layers::metrics::RareEvent;
use crate::storage_io::{CachedBlocks, ContentKind};

/// A layer file of either kind.
pub(super) enum Reader {
    Delta(DeltaLayerReader<CachedBlocks>),
    Image(ImageLayerReader<CachedBlocks>),
}

/// Shared by everybody who reads the file.
pub(super) struct OpenFile {
    owner: OnceLock<Weak<Inner>>,
    /// Set by the first read. A corrupt file stays corrupt.
    reader: OnceLock<Result<Reader, Arc<LayerFileError>>>,
}

impl OpenFile {
    pub(super) fn new() -> OpenFile {
        OpenFile { owner: OnceLock::new(), reader: OnceLock::new() }
    }

    /// Names the layer to tell about the last drop.
    pub(super) fn adopt(&self, owner: Weak<Inner>) {
        let first = self.owner.set(owner).is_ok();
        assert!(first, "a file belongs to one layer");
    }

    /// Opens the file on first use. Blocks.
    pub(super) fn reader(&self, layer: &Inner) -> Result<&Reader, LayerAccessError> {
        if self.reader.get().is_none() {
            let opened = open(layer)?;
            // Two readers may race here; either result is right.
            let _ = self.reader.set(opened);
        }
        match self.reader.get() {
            Some(Ok(reader)) => Ok(reader),
            Some(Err(error)) => Err(LayerAccessError::Corrupt(Arc::clone(error))),
            None => Err(LayerAccessError::Cancelled),
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(layer) = self.owner.get().and_then(Weak::upgrade) {
            evict::file_dropped(&layer);
        }
    }
}

/// Opens and checks the file. The outer error may go away; the inner one will not.
fn open(layer: &Inner) -> Result<Result<Reader, Arc<LayerFileError>>, LayerAccessError> {
    let kind = match &layer.name {
        LayerName::Delta(_) => ContentKind::DeltaLayerBtreeNode,
        LayerName::Image(_) => ContentKind::ImageLayerBtreeNode,
    };
    let observer = Arc::clone(&layer.owner.counters);
    let path = layer.local_path.as_std_path();
    let blocks = CachedBlocks::open(path, &layer.owner.io, kind, observer)
        .map_err(|error| LayerAccessError::Open(Arc::new(error)))?;
    let tenant = layer.owner.tenant_id;
    let opened = match &layer.name {
        name @ LayerName::Delta(_) => {
            DeltaLayerReader::open(blocks, tenant, name).map(Reader::Delta)
        }
        name @ LayerName::Image(_) => {
            ImageLayerReader::open(blocks, tenant, name).map(Reader::Image)
        }
    };
    match opened {
        Err(error) if !error.is_permanent() => {
            Err(LayerAccessError::Open(Arc::new(std::io::Error::other(error))))
        }
        opened => {
            if opened.is_err() {
                RareEvent::PermanentLoadingFailure.count();
            }
            Ok(opened.map_err(Arc::new))
        }
    }
}
