//! Duplex COPY streams: physical replication and the WAL service's own protocol.

use bytes::Bytes;
use pq_proto::ServerMessage;
use pq_proto::client::{write_copy_data, write_copy_done};

use crate::error::Error;
use crate::stream::{MessageReader, MessageWriter};

/// Both directions of a CopyBoth session.
#[derive(Debug)]
pub struct CopyBoth {
    receiver: CopyReceiver,
    sender: CopySender,
}

/// The server's direction.
#[derive(Debug)]
pub struct CopyReceiver {
    reader: MessageReader,
    ended: bool,
}

/// Our direction.
#[derive(Debug)]
pub struct CopySender {
    writer: MessageWriter,
}

impl CopyBoth {
    pub(crate) fn new(reader: MessageReader, writer: MessageWriter) -> Self {
        Self { receiver: CopyReceiver { reader, ended: false }, sender: CopySender { writer } }
    }

    /// Separates the directions, so that two tasks can use them.
    pub fn split(self) -> (CopyReceiver, CopySender) {
        (self.receiver, self.sender)
    }

    /// See [`CopyReceiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<Bytes>, Error> {
        self.receiver.recv().await
    }

    /// See [`CopySender::send`].
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.sender.send(payload).await
    }
}

impl CopyReceiver {
    /// The payload of the next CopyData. `None` when the server ended its stream, by CopyDone or
    /// straight by CommandComplete as a WAL sender does at shutdown. Cancel safe.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, Error> {
        if self.ended {
            return Ok(None);
        }
        match self.reader.next().await? {
            ServerMessage::CopyData(payload) => Ok(Some(payload)),
            ServerMessage::CopyDone | ServerMessage::CommandComplete(_) => {
                self.ended = true;
                Ok(None)
            }
            ServerMessage::ErrorResponse(report) => Err(report.into()),
            other => {
                let activity = "receiving a duplex COPY stream";
                Err(Error::Unexpected { message: other.name(), activity })
            }
        }
    }
}

impl CopySender {
    /// Sends one CopyData. If interrupted, the rest goes out with the next call.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.feed(&[payload])?;
        self.flush().await
    }

    /// Buffers one CopyData whose payload is the concatenation of `parts`.
    pub fn feed(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        Ok(write_copy_data(&mut self.writer.buffer, parts)?)
    }

    /// Sends what is buffered. Cancel safe.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().await
    }

    /// Bytes waiting for a flush.
    pub fn pending_bytes(&self) -> usize {
        self.writer.buffer.len()
    }

    /// Ends our direction.
    pub async fn finish(&mut self) -> Result<(), Error> {
        write_copy_done(&mut self.writer.buffer)?;
        self.flush().await
    }
}
