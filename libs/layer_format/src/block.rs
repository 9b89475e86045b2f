//! Access to the bytes of a layer file, in whole blocks or in runs.
//!
//! The readers of this crate see only [`BlockReader`], so the pageserver can put a cache
//! under them and tests can read from memory. Reads block; callers choose the thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes of an index node, of the summary, and the alignment of the index.
pub const BLOCK_SIZE: usize = 8192;

/// A block shared by whoever caches it.
pub type Block = Arc<[u8; BLOCK_SIZE]>;

/// Something that holds the bytes of one layer file.
pub trait BlockReader {
    /// Path or name of the file, for error messages.
    fn name(&self) -> &str;

    /// Length of the file in bytes.
    fn length_bytes(&self) -> u64;

    /// Fills `buffer` from `offset`; ends with `UnexpectedEof` when the file is too short.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Reads one block. Implementations may cache.
    fn read_block(&self, number: u64) -> io::Result<Block> {
        let mut block = Arc::new([0; BLOCK_SIZE]);
        let bytes = Arc::make_mut(&mut block);
        self.read_exact_at(bytes, number.saturating_mul(BLOCK_SIZE as u64))?;
        Ok(block)
    }
}

impl<R: BlockReader + ?Sized> BlockReader for &R {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn length_bytes(&self) -> u64 {
        (**self).length_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn read_block(&self, number: u64) -> io::Result<Block> {
        (**self).read_block(number)
    }
}

/// A layer file opened with the standard library, without a cache.
#[derive(Debug)]
pub struct FileBlocks {
    file: File,
    name: String,
    length_bytes: u64,
}

impl FileBlocks {
    /// Opens the file at `path` for reading.
    pub fn open(path: &std::path::Path) -> io::Result<FileBlocks> {
        let file = File::open(path)?;
        let length_bytes = file.metadata()?.len();
        Ok(FileBlocks { file, name: path.display().to_string(), length_bytes })
    }
}

impl BlockReader for FileBlocks {
    fn name(&self) -> &str {
        &self.name
    }

    fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// A layer file held in memory.
#[derive(Debug)]
pub struct MemoryBlocks {
    bytes: Vec<u8>,
    name: String,
}

impl MemoryBlocks {
    /// Wraps the content of a file called `name`.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> MemoryBlocks {
        MemoryBlocks { bytes, name: name.into() }
    }
}

impl BlockReader for MemoryBlocks {
    fn name(&self) -> &str {
        &self.name
    }

    fn length_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let source = self.bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(source);
        Ok(())
    }
}
