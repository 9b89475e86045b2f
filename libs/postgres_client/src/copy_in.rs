//! A COPY stream to the server.

use pq_proto::ServerMessage;
use pq_proto::client::{write_copy_data, write_copy_done};
use pq_proto::server_message::ServerReport;

use crate::error::Error;
use crate::stream::{MessageReader, MessageWriter};

/// Takes the bytes of a COPY stream. What the server says of them is known at the end.
#[derive(Debug)]
pub struct CopyIn {
    reader: MessageReader,
    writer: MessageWriter,
}

impl CopyIn {
    pub(crate) fn new(reader: MessageReader, writer: MessageWriter) -> Self {
        Self { reader, writer }
    }

    /// Sends a piece.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        write_copy_data(&mut self.writer.buffer, &[payload])?;
        self.writer.flush().await
    }

    /// Ends the stream and waits until the server has done its work.
    pub async fn finish(mut self) -> Result<(), Error> {
        write_copy_done(&mut self.writer.buffer)?;
        self.writer.flush().await?;
        let mut failure: Option<ServerReport> = None;
        loop {
            match self.reader.next().await? {
                ServerMessage::CommandComplete(_) => {}
                ServerMessage::ErrorResponse(report) => {
                    failure.get_or_insert(report);
                }
                ServerMessage::ReadyForQuery => break,
                other => {
                    let activity = "ending a COPY stream";
                    return Err(Error::Unexpected { message: other.name(), activity });
                }
            }
        }
        failure.map_or(Ok(()), |report| Err(report.into()))
    }
}
