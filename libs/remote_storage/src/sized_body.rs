//! The content of an upload as a stream that has exactly the announced length or fails.

use std::io;

use futures::{StreamExt, stream};
use tokio_util::io::ReaderStream;

use crate::backend::{ByteStream, UploadBody};

/// Bytes read from a file at once.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// Opens the content.
pub(crate) async fn open(body: UploadBody) -> io::Result<ByteStream> {
    match body {
        UploadBody::Bytes(bytes) => Ok(stream::iter([Ok(bytes)]).boxed()),
        UploadBody::File { path, size_bytes } => {
            check_file(&path, size_bytes).await?;
            let file = tokio::fs::File::open(&path).await?;
            let content = ReaderStream::with_capacity(file, CHUNK_BYTES).boxed();
            Ok(exactly(content, size_bytes))
        }
        UploadBody::Stream { stream, size_bytes } => Ok(exactly(stream, size_bytes)),
    }
}

/// Refuses a file of another length.
pub(crate) async fn check_file(path: &camino::Utf8Path, size_bytes: u64) -> io::Result<()> {
    let found = tokio::fs::metadata(path).await?.len();
    if found == size_bytes { Ok(()) } else { Err(wrong_length(size_bytes, found)) }
}

/// The error of a content that is longer or shorter.
pub(crate) fn wrong_length(expected: u64, found: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the content has different size than announced: {found} instead of {expected}"),
    )
}

/// Ends with an error as soon as the length is known to be wrong.
fn exactly(content: ByteStream, size_bytes: u64) -> ByteStream {
    let state = Some((content, 0));
    stream::unfold(state, move |state| async move {
        let (mut content, sent_bytes) = state?;
        let found = match content.next().await {
            Some(Ok(chunk)) => {
                let found = sent_bytes + chunk.len() as u64;
                if found <= size_bytes {
                    return Some((Ok(chunk), Some((content, found))));
                }
                found
            }
            Some(Err(error)) => return Some((Err(error), None)),
            None if sent_bytes == size_bytes => return None,
            None => sent_bytes,
        };
        Some((Err(wrong_length(size_bytes, found)), None))
    })
    .boxed()
}
