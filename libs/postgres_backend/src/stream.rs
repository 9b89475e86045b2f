//! The two halves of a connection: buffered reading and writing of whole messages.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pq_proto::{BeMessage, FeMessage, ProtocolError, StartupPacket};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::io::poll_write_buf;

use crate::copy::CopyStreamEnd;
use crate::error::ConnectionError;
use crate::socket::{ReadSocket, WriteSocket};

const INITIAL_BUFFER_BYTES: usize = 8192;

/// Reads messages from the peer. Every method is cancel safe: what has arrived stays buffered.
#[derive(Debug)]
pub struct BackendReader {
    pub(crate) socket: ReadSocket,
    buffer: BytesMut,
    read_timeout: Duration,
}

impl BackendReader {
    pub(crate) fn new(socket: ReadSocket, read_timeout: Duration) -> Self {
        Self { socket, buffer: BytesMut::with_capacity(INITIAL_BUFFER_BYTES), read_timeout }
    }

    /// Bytes that have arrived and belong to no message yet.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The next message; `None` when the peer closed the connection between messages.
    pub async fn read_message(&mut self) -> Result<Option<FeMessage>, ConnectionError> {
        self.read_with(FeMessage::parse).await
    }

    pub(crate) async fn read_startup(&mut self) -> Result<Option<StartupPacket>, ConnectionError> {
        self.read_with(StartupPacket::parse).await
    }

    /// The payload of the next CopyData. Every other outcome is an end of the stream.
    pub async fn read_copy_message(&mut self) -> Result<Bytes, CopyStreamEnd> {
        match self.read_message().await? {
            None => Err(CopyStreamEnd::Eof),
            Some(FeMessage::CopyData(payload)) => Ok(payload),
            Some(FeMessage::CopyDone) => Err(CopyStreamEnd::CopyDone),
            Some(FeMessage::CopyFail(_)) => Err(CopyStreamEnd::CopyFail),
            Some(FeMessage::Terminate) => Err(CopyStreamEnd::Terminate),
            Some(other) => {
                let text = format!("unexpected message in COPY stream {}", other.name());
                let error = ProtocolError::Unexpected(text);
                Err(CopyStreamEnd::Disconnected(error.into()))
            }
        }
    }

    async fn read_with<M>(
        &mut self,
        parse: impl Fn(&mut BytesMut) -> Result<Option<M>, ProtocolError>,
    ) -> Result<Option<M>, ConnectionError> {
        loop {
            if let Some(message) = parse(&mut self.buffer)? {
                return Ok(Some(message));
            }
            if self.fill().await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                let text = "EOF with unprocessed data in the buffer";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into());
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let read = self.socket.read_buf(&mut self.buffer);
        tokio::time::timeout(self.read_timeout, read).await.unwrap_or_else(|_| {
            let text = format!("nothing received for {:?}", self.read_timeout);
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }
}

/// Writes messages to the peer. Messages collect in memory until a flush; writers of streams
/// flush after each message or two, which is what bounds the buffer.
#[derive(Debug)]
pub struct BackendWriter {
    pub(crate) socket: WriteSocket,
    buffer: BytesMut,
}

impl BackendWriter {
    pub(crate) fn new(socket: WriteSocket) -> Self {
        Self { socket, buffer: BytesMut::with_capacity(INITIAL_BUFFER_BYTES) }
    }

    /// Adds a message to the output buffer. Fails only for values without an encoding.
    pub fn write_message(&mut self, message: &BeMessage<'_>) -> Result<&mut Self, ConnectionError> {
        message.write(&mut self.buffer)?;
        Ok(self)
    }

    /// Bytes waiting for a flush.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Sends everything buffered. Cancel safe: what was not sent stays buffered.
    pub async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_flush(context)).await
    }

    /// Closes the sending side, after what was flushed.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.socket.shutdown().await
    }

    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = std::pin::Pin::new(&mut self.socket);
        while !self.buffer.is_empty() {
            let written = ready!(poll_write_buf(socket.as_mut(), context, &mut self.buffer))?;
            if written == 0 {
                let text = "the peer accepts no more bytes";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::WriteZero, text)));
            }
        }
        socket.poll_flush(context)
    }
}
