//! The file behind an in-memory layer: appended to by ingest, read by page requests, removed
//! with the layer. It is never read after a restart.
//!
//! The newest bytes stay in memory until a buffer's worth has gathered. Reads and writes are
//! of the kernel's page cache and done in place; a layer's owner serialises them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use metrics::{IntGauge, must, register_int_gauge};

/// Bytes held back before they are written.
const TAIL_BYTES: usize = 64 * 1024;

/// Numbers files of the whole process, so that names never repeat.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

static TOTAL_BYTES: LazyLock<IntGauge> = LazyLock::new(|| {
    must(register_int_gauge!(
        "pageserver_timeline_ephemeral_bytes",
        "Bytes of values in layers that are not written out yet, of all timelines"
    ))
});

/// An append-only scratch file.
pub(super) struct EphemeralFile {
    path: Utf8PathBuf,
    file: File,
    /// Bytes in the file; the tail follows them.
    written_bytes: u64,
    tail: Vec<u8>,
}

impl EphemeralFile {
    /// Makes an empty file in `directory`.
    pub(super) fn create(directory: &Utf8Path) -> io::Result<EphemeralFile> {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{}{number}", layer_format::paths::EPHEMERAL_PREFIX));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(EphemeralFile { path, file, written_bytes: 0, tail: Vec::new() })
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Bytes appended so far.
    pub(super) fn length_bytes(&self) -> u64 {
        self.written_bytes + self.tail.len() as u64
    }

    /// Appends bytes and returns where they begin. After a failure the bytes are still there,
    /// and the next call tries to write them again.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let offset = self.length_bytes();
        self.tail.extend_from_slice(bytes);
        TOTAL_BYTES.add(bytes.len() as i64);
        if self.tail.len() >= TAIL_BYTES {
            self.file.write_all_at(&self.tail, self.written_bytes)?;
            self.written_bytes += self.tail.len() as u64;
            self.tail.clear();
        }
        Ok(offset)
    }

    /// Reads bytes that were appended by one call.
    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if let Some(start) = offset.checked_sub(self.written_bytes) {
            let start = start as usize;
            let bytes = self.tail.get(start..start.saturating_add(length));
            return bytes.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Reads everything.
    pub(super) fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.written_bytes as usize];
        self.file.read_exact_at(&mut bytes, 0)?;
        bytes.extend_from_slice(&self.tail);
        Ok(bytes)
    }
}

impl Drop for EphemeralFile {
    fn drop(&mut self) {
        TOTAL_BYTES.sub(i64::try_from(self.length_bytes()).unwrap_or(i64::MAX));
        match std::fs::remove_file(&self.path) {
            // The directory may have been removed as a whole.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!("cannot remove ephemeral file {}: {error}", self.path);
            }
            _ => {}
        }
    }
}
