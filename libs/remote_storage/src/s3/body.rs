//! Bodies of requests and answers.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream as SdkStream, Length, SdkBody};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body::{Body, Frame, SizeHint};

use crate::RemoteStorageError;
use crate::backend::{ByteStream, UploadBody};
use crate::sized_body::{CHUNK_BYTES, check_file, wrong_length};

/// The body of an upload, which has exactly the announced length or fails.
pub(super) async fn upload(body: UploadBody, path: &str) -> Result<SdkStream, RemoteStorageError> {
    let failed =
        |source| RemoteStorageError::Io { action: "upload", path: path.to_owned(), source };
    match body {
        UploadBody::Bytes(bytes) => Ok(SdkStream::from(bytes)),
        UploadBody::File { path: file, size_bytes } => {
            check_file(&file, size_bytes).await.map_err(failed)?;
            SdkStream::read_from()
                .path(&file)
                .length(Length::Exact(size_bytes))
                .buffer_size(CHUNK_BYTES)
                .build()
                .await
                .map_err(|error| failed(io::Error::other(error)))
        }
        UploadBody::Stream { stream, size_bytes } => {
            let body = SizedBody { stream: Mutex::new(stream), size_bytes, left_bytes: size_bytes };
            Ok(SdkStream::new(SdkBody::from_body_1_x(body)))
        }
    }
}

/// The content of an answer.
pub(super) fn download(body: SdkStream) -> ByteStream {
    let next = |mut body: SdkStream| async move {
        let chunk = body.next().await?;
        Some((chunk.map_err(io::Error::other), body))
    };
    stream::unfold(body, next).boxed()
}

/// A stream as a request body. The mutex is never contended: it makes the stream `Sync`, which
/// the SDK asks for.
struct SizedBody {
    stream: Mutex<ByteStream>,
    size_bytes: u64,
    left_bytes: u64,
}

impl Body for SizedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        let item = match Pin::new(stream).poll_next(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(item) => item,
        };
        let sent_bytes = self.size_bytes - self.left_bytes;
        Poll::Ready(match item {
            Some(Ok(chunk)) => match self.left_bytes.checked_sub(chunk.len() as u64) {
                Some(left_bytes) => {
                    self.left_bytes = left_bytes;
                    Some(Ok(Frame::data(chunk)))
                }
                None => Some(Err(wrong_length(self.size_bytes, sent_bytes + chunk.len() as u64))),
            },
            Some(Err(error)) => Some(Err(error)),
            None if self.left_bytes > 0 => Some(Err(wrong_length(self.size_bytes, sent_bytes))),
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}
