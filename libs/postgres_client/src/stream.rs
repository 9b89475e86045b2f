//! The two halves of a connection: buffered reading and writing of whole messages.

use std::fmt;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use pq_proto::ServerMessage;
use tls::client_stream::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::error::Error;

/// Free space of a new buffer; WAL arrives in messages of up to 128 KiB.
const READ_CHUNK_BYTES: usize = 32 * 1024;
/// With less free space there is a new buffer. What was received keeps the old one alive as long as
/// it is needed, so one for each small message would take many times its size.
const MIN_READ_BYTES: usize = 4 * 1024;

type BoxedRead = Box<dyn AsyncRead + Send + Sync + Unpin>;
type BoxedWrite = Box<dyn AsyncWrite + Send + Sync + Unpin>;

/// Reads messages from the server. Cancel safe: what has arrived stays buffered.
pub(crate) struct MessageReader {
    socket: BoxedRead,
    buffer: BytesMut,
}

/// Writes messages to the server, collecting them until a flush.
pub(crate) struct MessageWriter {
    socket: BoxedWrite,
    pub(crate) buffer: BytesMut,
}

pub(crate) fn from_tcp(socket: TcpStream) -> (MessageReader, MessageWriter) {
    let (read, write) = socket.into_split();
    halves(Box::new(read), Box::new(write))
}

pub(crate) fn from_tls(socket: TlsStream<TcpStream>) -> (MessageReader, MessageWriter) {
    let (read, write) = tokio::io::split(socket);
    halves(Box::new(read), Box::new(write))
}

pub(crate) fn from_unix(socket: UnixStream) -> (MessageReader, MessageWriter) {
    let (read, write) = socket.into_split();
    halves(Box::new(read), Box::new(write))
}

fn halves(read: BoxedRead, write: BoxedWrite) -> (MessageReader, MessageWriter) {
    (
        MessageReader { socket: read, buffer: BytesMut::new() },
        MessageWriter { socket: write, buffer: BytesMut::new() },
    )
}

impl MessageReader {
    /// The next message that concerns the conversation: parameter changes, notices and
    /// notifications are consumed here. A closed connection is an error. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<ServerMessage, Error> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ServerMessage, Error>> {
        loop {
            match ServerMessage::parse(&mut self.buffer)? {
                Some(ServerMessage::NoticeResponse(report)) => {
                    tracing::debug!("notice from the server: {report}");
                    continue;
                }
                Some(
                    ServerMessage::ParameterStatus { .. } | ServerMessage::NotificationResponse,
                ) => continue,
                Some(message) => return Poll::Ready(Ok(message)),
                None => {}
            }
            if self.buffer.capacity() - self.buffer.len() < MIN_READ_BYTES {
                self.buffer.reserve(READ_CHUNK_BYTES);
            }
            let socket = std::pin::Pin::new(&mut self.socket);
            if ready!(poll_read_buf(socket, context, &mut self.buffer))? == 0 {
                return Poll::Ready(Err(Error::Closed));
            }
        }
    }
}

impl MessageWriter {
    /// Sends everything buffered. Cancel safe: what was not sent stays buffered.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        Ok(std::future::poll_fn(|context| self.poll_flush(context)).await?)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = std::pin::Pin::new(&mut self.socket);
        while !self.buffer.is_empty() {
            if ready!(poll_write_buf(socket.as_mut(), context, &mut self.buffer))? == 0 {
                let text = "the server accepts no more bytes";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::WriteZero, text)));
            }
        }
        socket.poll_flush(context)
    }
}

impl fmt::Debug for MessageReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("buffered_bytes", &self.buffer.len()).finish()
    }
}

impl fmt::Debug for MessageWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter").field("buffered_bytes", &self.buffer.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn small_messages_that_are_kept_share_buffers() {
        const MESSAGES: usize = 200;
        let body = [b'w'; 600];
        let (mut server, client) = tokio::io::duplex(1 << 16);
        let (read, write) = tokio::io::split(client);
        let (mut reader, _writer) = halves(Box::new(read), Box::new(write));
        let mut kept = Vec::new();
        for _ in 0..MESSAGES {
            server.write_u8(b'd').await.unwrap();
            server.write_u32(body.len() as u32 + 4).await.unwrap();
            server.write_all(&body).await.unwrap();
            let ServerMessage::CopyData(payload) = reader.next().await.unwrap() else {
                panic!("a message of another kind");
            };
            kept.push(payload);
        }
        let follows = |pair: &[bytes::Bytes]| {
            pair[1].as_ptr() as usize == pair[0].as_ptr() as usize + body.len() + 5
        };
        let buffers = 1 + kept.windows(2).filter(|pair| !follows(pair)).count();
        let bytes = buffers * READ_CHUNK_BYTES;
        assert!(bytes < 2 * MESSAGES * body.len(), "{buffers} buffers");
    }
}
