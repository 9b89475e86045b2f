//! Reads that pass by the operating system's cache (`O_DIRECT`).
//!
//! Such a read begins and ends at multiples of what the device asks for, and so does the memory
//! that it fills. What that is, is asked of the kernel for each file (`STATX_DIOALIGN`, Linux 6.1 and
//! later): it differs between devices and file systems. A file for which there is no answer is read
//! through the cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags, StatxFlags};

/// Whether layer files are read through the operating system's cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoMode {
    /// Through it.
    #[default]
    Buffered,
    /// Past it, where device and file system can.
    Direct,
}

/// What a direct read of a file must be a multiple of, in bytes. Both are powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectAlignment {
    /// The address that is read to.
    memory: usize,
    /// Position and length.
    offset: usize,
}

impl DirectAlignment {
    /// What the kernel says of the file at `path`; `None` if it can only be read through the cache.
    pub fn of(path: &Path) -> io::Result<Option<DirectAlignment>> {
        let found = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::DIOALIGN)?;
        let is_known = found.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
        let (memory, offset) = (found.stx_dio_mem_align, found.stx_dio_offset_align);
        let is_usable = is_known && memory.is_power_of_two() && offset.is_power_of_two();
        Ok(is_usable
            .then_some(DirectAlignment { memory: memory as usize, offset: offset as usize }))
    }

    fn covers(self, buffer: &[u8], offset: u64) -> bool {
        buffer.as_ptr().align_offset(self.memory) == 0
            && buffer.len().is_multiple_of(self.offset)
            && offset.is_multiple_of(self.offset as u64)
    }

    /// Fills `buffer` from `offset` of a file that was opened for direct reads.
    pub fn read_exact_at(self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.covers(buffer, offset) {
            return file.read_exact_at(buffer, offset);
        }
        let skipped = (offset % self.offset as u64) as usize;
        let wanted = skipped + buffer.len();
        let length = wanted.next_multiple_of(self.offset);
        let mut memory = vec![0; length + self.memory];
        let start = memory.as_ptr().align_offset(self.memory);
        let aligned = memory.get_mut(start..start + length).ok_or(io::ErrorKind::OutOfMemory)?;
        self.fill(file, aligned, offset - skipped as u64, wanted)?;
        let found = aligned.get(skipped..wanted).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    /// Reads at least `wanted` bytes into an aligned buffer, from an aligned offset.
    fn fill(self, file: &File, aligned: &mut [u8], offset: u64, wanted: usize) -> io::Result<()> {
        let mut filled = 0;
        while filled < wanted {
            let rest = aligned.get_mut(filled..).ok_or(io::ErrorKind::UnexpectedEof)?;
            match file.read_at(rest, offset + filled as u64) {
                // Only the end of a file is read in part.
                Ok(bytes) if bytes == 0 || !bytes.is_multiple_of(self.offset) => {
                    filled += bytes;
                    break;
                }
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled < wanted { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// Opens the file at `path` for reading in a mode, with what its reads must be aligned to.
pub fn open(path: &Path, mode: IoMode) -> io::Result<(File, Option<DirectAlignment>)> {
    let alignment = match mode {
        IoMode::Buffered => None,
        IoMode::Direct => DirectAlignment::of(path)?,
    };
    let mut options = OpenOptions::new();
    if alignment.is_some() {
        options.custom_flags(OFlags::DIRECT.bits() as i32);
    }
    Ok((options.read(true).open(path)?, alignment))
}

#[cfg(test)]
mod tests;
