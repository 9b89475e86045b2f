//! What a timeline has on disk.

use std::fs::{self, File};
use std::io::{self, Read};

use camino::Utf8Path;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::moment;

#[derive(Serialize)]
pub(super) struct DiskContent {
    files: Vec<FileDump>,
}

#[derive(Serialize)]
struct FileDump {
    name: String,
    size: u64,
    created: DateTime<Utc>,
    modified: DateTime<Utc>,
    start_zeroes: u64,
    end_zeroes: u64,
}

impl DiskContent {
    /// Reads every file, away from the runtime's threads.
    pub(super) async fn of(dir: &Utf8Path) -> io::Result<Self> {
        let dir = dir.to_owned();
        let read = tokio::task::spawn_blocking(move || Self::read(&dir)).await;
        read.map_err(io::Error::other)?
    }

    fn read(dir: &Utf8Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            match describe(&entry) {
                Ok(file) => files.push(file),
                // It was renamed or removed while we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { files })
    }
}

fn describe(entry: &fs::DirEntry) -> io::Result<FileDump> {
    let metadata = entry.metadata()?;
    let (start_zeroes, end_zeroes) = count_zeros(File::open(entry.path())?)?;
    Ok(FileDump {
        name: entry.file_name().to_string_lossy().into_owned(),
        size: metadata.len(),
        created: moment(metadata.created()),
        modified: moment(metadata.modified()),
        start_zeroes,
        end_zeroes,
    })
}

/// How many zero bytes there are at the beginning and at the end.
fn count_zeros(mut file: File) -> io::Result<(u64, u64)> {
    let (mut at_start, mut at_end, mut only_zeros) = (0, 0, true);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
            return Ok((at_start, at_end));
        };
        let leading = chunk.iter().take_while(|byte| **byte == 0).count();
        let trailing = chunk.iter().rev().take_while(|byte| **byte == 0).count();
        if only_zeros {
            at_start += leading as u64;
        }
        only_zeros &= leading == chunk.len();
        at_end = if trailing == chunk.len() { at_end + trailing as u64 } else { trailing as u64 };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(content: &[u8], expected: (u64, u64)) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        assert_eq!(count_zeros(file.reopen().unwrap()).unwrap(), expected);
    }

    #[test]
    fn zeros_are_counted_from_both_ends() {
        check(&[], (0, 0));
        check(&[0; 10], (10, 10));
        check(&[0, 0, 7, 0, 8, 0], (2, 1));
    }

    #[test]
    fn zeros_are_counted_across_reads() {
        let mut content = vec![0; 3 << 20];
        content[(1 << 20) + 5] = 1;
        check(&content, ((1 << 20) + 5, (2 << 20) - 6));
    }
}
