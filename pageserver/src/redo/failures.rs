//! Records requests that failed, so that they can be reproduced.
//!
//! A file holds the bytes of one request of the helper protocol; `wal_redo --wal-redo
//! --pg-version <version> < file` replays it. Files are bounded in number: a damaged page is read
//! again and again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use camino::Utf8PathBuf;

/// Files that one tenant shard may leave between two starts.
const MAX_FILES: u32 = 20;

/// Writes failed requests to a directory.
#[derive(Debug)]
pub(super) struct FailureRecorder {
    directory: Utf8PathBuf,
    written: AtomicU32,
}

impl FailureRecorder {
    /// Records into a directory that exists.
    pub(super) fn new(directory: Utf8PathBuf) -> Self {
        FailureRecorder { directory, written: AtomicU32::new(0) }
    }

    /// Writes a request, unless there are enough. A failure to do so is only logged.
    pub(super) async fn record(&self, request: Vec<u8>) {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        if number >= MAX_FILES {
            // Stays where it is, rather than wrapping around one day.
            self.written.store(MAX_FILES, Ordering::Relaxed);
            return;
        }
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let length = request.len();
        let path = self.directory.join(format!("walredo-{millis}-{length}-{number}.walredo"));
        match tokio::fs::write(&path, request).await {
            Ok(()) => tracing::error!("erroring walredo input saved in {path}"),
            Err(error) => {
                tracing::warn!("cannot save a failed WAL redo request in {path}: {error}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_files_than_allowed_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        let recorder = FailureRecorder::new(path);
        for _ in 0..MAX_FILES + 5 {
            recorder.record(b"request".to_vec()).await;
        }
        let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(files.len(), MAX_FILES as usize);
        assert_eq!(std::fs::read(files[0].as_ref().unwrap().path()).unwrap(), b"request");
    }
}
