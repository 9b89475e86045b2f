//! Writing a layer file: values first, then the index, then the summary; all under a temporary
//! name that goes away if the writer is dropped unfinished.
//!
//! What the caller still owes after `finish`: an fsync of the directory, once for all files it
//! made.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};

use crate::blob::{self, Compression};
use crate::block::BLOCK_SIZE;
use crate::btree::BTreeBuilder;
use crate::error::{LayerFileError, LayerFileReason, at};
use crate::summary::{Summary, VALUES_START};

/// Bytes gathered before a write.
const BUFFER_BYTES: usize = 128 * 1024;
/// Highest number tried for a temporary name before giving up.
const MAX_TEMP_ATTEMPTS: u32 = 100_000;

/// A file under a temporary name; removed on drop unless renamed.
struct TempFile {
    path: Utf8PathBuf,
    armed: bool,
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.armed {
            // Nobody is left to tell; startup removes every temporary name in any case.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Values and index of a layer file in the making. Keys of the index have `L` bytes.
pub(crate) struct LayerFileWriter<const L: usize> {
    // Declared before the file so that the name goes away first.
    temp: TempFile,
    out: BufWriter<File>,
    tree: BTreeBuilder<L>,
    offset: u64,
    compression: Compression,
    scratch: Vec<u8>,
}

impl<const L: usize> LayerFileWriter<L> {
    /// Creates `<stem>.<unique>.___temp` in `directory`.
    pub(crate) fn create(
        directory: &Utf8Path,
        stem: &str,
        compression: Compression,
    ) -> Result<Self, LayerFileError> {
        let (temp, file) = create_temp(directory, stem)
            .map_err(|error| at(directory.join(stem).as_str(), 0)(LayerFileReason::Io(error)))?;
        let mut writer = LayerFileWriter {
            temp,
            out: BufWriter::with_capacity(BUFFER_BYTES, file),
            tree: BTreeBuilder::new(),
            offset: VALUES_START,
            compression,
            scratch: Vec::new(),
        };
        writer.io(|out| out.seek(SeekFrom::Start(VALUES_START)).map(drop))?;
        Ok(writer)
    }

    /// Offset at which the next value will be written.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes the file will have about, if finished now.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.offset + self.tree.size_bytes()
    }

    /// Appends a value, indexed under `key` with `index_value`.
    pub(crate) fn put(
        &mut self,
        key: &[u8; L],
        index_value: u64,
        content: &[u8],
    ) -> Result<(), LayerFileError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        blob::encode(content, self.compression, &mut scratch)
            .map_err(|error| self.fail(LayerFileReason::Blob(error)))?;
        self.tree
            .append(key, index_value)
            .map_err(|error| self.fail(LayerFileReason::Refused(error.to_string())))?;
        self.io(|out| out.write_all(&scratch))?;
        self.offset += scratch.len() as u64;
        self.scratch = scratch;
        Ok(())
    }

    /// Writes index and summary, fsyncs, and renames to `target`, which must not exist.
    /// Returns the length of the file.
    pub(crate) fn finish(
        mut self,
        target: &Utf8Path,
        summary: impl FnOnce(u32, u32) -> Summary,
    ) -> Result<u64, LayerFileError> {
        let start_block = self.offset.div_ceil(BLOCK_SIZE as u64);
        let index_start_block = u32::try_from(start_block).map_err(|_| {
            self.fail(LayerFileReason::Refused("the values exceed the format".to_owned()))
        })?;
        let tree = std::mem::take(&mut self.tree);
        let tree = tree
            .finish()
            .map_err(|error| self.fail(LayerFileReason::Refused(error.to_string())))?;
        let index_offset = start_block * BLOCK_SIZE as u64;
        let summary = summary(index_start_block, tree.root_block).to_bytes();
        self.io(|out| {
            out.seek(SeekFrom::Start(index_offset))?;
            out.write_all(&tree.blocks)?;
            out.seek(SeekFrom::Start(0))?;
            out.write_all(&summary)?;
            out.flush()?;
            out.get_ref().sync_all()
        })?;
        utils::fs_ext::rename_noreplace(self.temp.path.as_std_path(), target.as_std_path())
            .map_err(|error| {
                let text = format!("rename temporary file as correct path for {target}: {error}");
                self.fail(LayerFileReason::Refused(text))
            })?;
        self.temp.armed = false;
        Ok(index_offset + tree.blocks.len() as u64)
    }

    fn io(
        &mut self,
        work: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), LayerFileError> {
        work(&mut self.out).map_err(|error| self.fail(LayerFileReason::Io(error)))
    }

    /// An error at the current position.
    pub(crate) fn fail(&self, reason: LayerFileReason) -> LayerFileError {
        at(self.temp.path.as_str(), self.offset)(reason)
    }
}

/// Makes a file of a name nobody else has. Counting up needs no randomness: leftovers are
/// removed at startup, so the first free number comes soon.
fn create_temp(directory: &Utf8Path, stem: &str) -> io::Result<(TempFile, File)> {
    for attempt in 0..MAX_TEMP_ATTEMPTS {
        let path = directory.join(format!("{stem}.{attempt:08}.{}", crate::paths::TEMP_SUFFIX));
        match File::create_new(&path) {
            Ok(file) => return Ok((TempFile { path, armed: true }, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many temporary files of this name"))
}
