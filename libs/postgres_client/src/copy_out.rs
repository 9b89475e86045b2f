//! A COPY stream from the server, as a byte reader.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use pq_proto::ServerMessage;
use tokio::io::{AsyncRead, ReadBuf};

use crate::error::Error;
use crate::stream::{MessageReader, MessageWriter};

/// The bytes of a COPY stream. The end of the file is reported only after the server confirmed
/// that the command succeeded; an error it sends instead surfaces as an I/O error that wraps
/// [`Error`].
#[derive(Debug)]
pub struct CopyOut {
    reader: MessageReader,
    /// Held so that the server does not see the connection half closed.
    _writer: MessageWriter,
    chunk: Bytes,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Streaming,
    /// CopyDone was seen; the server has yet to confirm.
    Confirming,
    Finished,
}

impl CopyOut {
    pub(crate) fn new(reader: MessageReader, writer: MessageWriter) -> Self {
        Self { reader, _writer: writer, chunk: Bytes::new(), state: State::Streaming }
    }

    /// Loads the next chunk; `false` at the end.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        while self.chunk.is_empty() && self.state != State::Finished {
            match (ready!(self.reader.poll_next(context))?, &self.state) {
                (ServerMessage::CopyData(bytes), State::Streaming) => self.chunk = bytes,
                (ServerMessage::CopyDone, State::Streaming) => self.state = State::Confirming,
                (
                    ServerMessage::CommandComplete(_) | ServerMessage::ReadyForQuery,
                    State::Confirming,
                ) => self.state = State::Finished,
                (ServerMessage::ErrorResponse(report), _) => {
                    return Poll::Ready(Err(report.into()));
                }
                (other, _) => {
                    let activity = "receiving a COPY stream";
                    let error = Error::Unexpected { message: other.name(), activity };
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(!self.chunk.is_empty()))
    }
}

impl AsyncRead for CopyOut {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if ready!(this.poll_chunk(context)).map_err(io::Error::other)? {
            let length = this.chunk.len().min(target.remaining());
            target.put_slice(&this.chunk.split_to(length));
            debug_assert!(length > 0 || !this.chunk.has_remaining() || target.remaining() == 0);
        }
        Poll::Ready(Ok(()))
    }
}
