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

/// Free space offered to each read; WAL arrives in messages of up to 128 KiB.
const READ_CHUNK_BYTES: usize = 32 * 1024;

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
            self.buffer.reserve(READ_CHUNK_BYTES);
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
