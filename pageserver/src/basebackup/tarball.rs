//! A tar archive written as a stream: GNU headers, optionally through gzip.
//!
//! Output is collected into chunks, because each write to the client becomes a message.

use std::io::{self, Write};

use bytes::{Buf, BytesMut};
use flate2::write::GzEncoder;
use tar::{EntryType, Header};
use tokio::io::{AsyncWrite, AsyncWriteExt};

const CHUNK_BYTES: usize = 64 * 1024;
const BLOCK_BYTES: usize = 512;
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o755;

/// Whether the archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// It is not.
    None,
    /// With gzip, at its fastest level.
    Gzip,
}

enum Encoder {
    Plain(BytesMut),
    Gzip(GzEncoder<Vec<u8>>),
}

/// The archive being written.
pub(super) struct Tarball<'a, W> {
    output: &'a mut W,
    encoder: Encoder,
    modified_at: u64,
    /// Bytes still to come of the file that was begun.
    expected: u64,
    /// Bytes to pad that file with.
    padding: usize,
}

impl<'a, W: AsyncWrite + Unpin> Tarball<'a, W> {
    pub(super) fn new(output: &'a mut W, compression: Compression) -> Self {
        let encoder = match compression {
            Compression::None => Encoder::Plain(BytesMut::with_capacity(2 * CHUNK_BYTES)),
            Compression::Gzip => {
                Encoder::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::fast()))
            }
        };
        let modified_at = chrono::Utc::now().timestamp().unsigned_abs();
        Tarball { output, encoder, modified_at, expected: 0, padding: 0 }
    }

    /// Adds a directory.
    pub(super) async fn directory(&mut self, path: &str) -> io::Result<()> {
        self.end_file().await?;
        let header = self.header(path, EntryType::Directory, DIRECTORY_MODE, 0)?;
        self.put(header.as_bytes()).await
    }

    /// Adds a file with this content.
    pub(super) async fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.begin_file(path, content.len() as u64).await?;
        self.append(content).await
    }

    /// Begins a file whose `size_bytes` bytes follow with [`Tarball::append`].
    pub(super) async fn begin_file(&mut self, path: &str, size_bytes: u64) -> io::Result<()> {
        self.end_file().await?;
        let header = self.header(path, EntryType::Regular, FILE_MODE, size_bytes)?;
        self.put(header.as_bytes()).await?;
        self.expected = size_bytes;
        self.padding = (size_bytes.next_multiple_of(BLOCK_BYTES as u64) - size_bytes) as usize;
        Ok(())
    }

    /// Adds to the file that was begun.
    pub(super) async fn append(&mut self, content: &[u8]) -> io::Result<()> {
        self.expected = self
            .expected
            .checked_sub(content.len() as u64)
            .ok_or_else(|| io::Error::other("a file in the archive is longer than announced"))?;
        for part in content.chunks(CHUNK_BYTES) {
            self.put(part).await?;
        }
        Ok(())
    }

    /// Ends the archive.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.end_file().await?;
        self.put(&[0; 2 * BLOCK_BYTES]).await?;
        match self.encoder {
            Encoder::Plain(buffer) => self.output.write_all(&buffer).await?,
            Encoder::Gzip(encoder) => self.output.write_all(&encoder.finish()?).await?,
        }
        self.output.flush().await
    }

    async fn end_file(&mut self) -> io::Result<()> {
        if self.expected != 0 {
            return Err(io::Error::other("a file in the archive is shorter than announced"));
        }
        let padding = std::mem::take(&mut self.padding);
        self.put(&[0; BLOCK_BYTES][..padding]).await
    }

    fn header(&self, path: &str, kind: EntryType, mode: u32, size: u64) -> io::Result<Header> {
        let mut header = Header::new_gnu();
        header.set_path(path)?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.modified_at);
        header.set_size(size);
        header.set_cksum();
        Ok(header)
    }

    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.encoder {
            Encoder::Plain(buffer) => {
                buffer.extend_from_slice(bytes);
                while buffer.len() >= CHUNK_BYTES {
                    let written = self.output.write(&buffer[..CHUNK_BYTES]).await?;
                    if written == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    buffer.advance(written);
                }
            }
            Encoder::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                if encoder.get_ref().len() >= CHUNK_BYTES {
                    let compressed = std::mem::take(encoder.get_mut());
                    self.output.write_all(&compressed).await?;
                }
            }
        }
        Ok(())
    }
}
