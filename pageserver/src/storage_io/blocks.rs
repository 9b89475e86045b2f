//! The bytes of a layer file: index blocks through the page cache, values straight from the file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use layer_format::block::{BLOCK_SIZE, Block, BlockReader};

use super::metrics::ContentKind;
use super::page_cache::{FileId, PageKey};
use super::{StorageIo, VirtualFile};

/// Told about every read from the file.
pub trait ReadObserver: Send + Sync {
    /// So many bytes were read.
    fn read_bytes(&self, bytes: u64);
}

/// A layer file.
pub struct CachedBlocks {
    file: VirtualFile,
    id: FileId,
    name: String,
    io: StorageIo,
    kind: ContentKind,
    observer: Arc<dyn ReadObserver>,
}

impl CachedBlocks {
    /// Opens the file at `path`, whose index blocks are of `kind`.
    pub fn open(
        path: &Path,
        io: &StorageIo,
        kind: ContentKind,
        observer: Arc<dyn ReadObserver>,
    ) -> io::Result<CachedBlocks> {
        Ok(CachedBlocks {
            file: VirtualFile::open(path, &io.files)?,
            id: FileId::fresh(),
            name: path.display().to_string(),
            io: io.clone(),
            kind,
            observer,
        })
    }
}

impl BlockReader for CachedBlocks {
    fn name(&self) -> &str {
        &self.name
    }

    fn length_bytes(&self) -> u64 {
        self.file.length_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)?;
        self.observer.read_bytes(buffer.len() as u64);
        Ok(())
    }

    fn read_block(&self, number: u64) -> io::Result<Block> {
        let key = PageKey { file: self.id, block: number };
        self.io.pages.get(key, self.kind, || {
            let mut block = Arc::new([0; BLOCK_SIZE]);
            let bytes = Arc::make_mut(&mut block);
            self.read_exact_at(bytes, number.saturating_mul(BLOCK_SIZE as u64))?;
            Ok(block)
        })
    }
}

#[cfg(test)]
mod tests;
