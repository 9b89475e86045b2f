//! A session in query mode.

use std::sync::Arc;

use pq_proto::ServerMessage;
use pq_proto::client::{write_query, write_terminate};

use crate::copy_both::CopyBoth;
use crate::copy_in::CopyIn;
use crate::copy_out::CopyOut;
use crate::error::Error;
use crate::row::Row;
use crate::stream::{MessageReader, MessageWriter};

/// A logged-in session that waits for commands.
#[derive(Debug)]
pub struct Client {
    reader: MessageReader,
    writer: MessageWriter,
    /// A command was sent whose end was not seen yet.
    busy: bool,
}

impl Client {
    pub(crate) fn new(reader: MessageReader, writer: MessageWriter) -> Self {
        Self { reader, writer, busy: false }
    }

    /// Runs `sql` and collects its rows in memory, so it is for small results. Not cancel safe:
    /// after an interruption the session refuses further commands.
    pub async fn simple_query(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        self.send_query(sql).await?;
        let mut columns: Arc<[String]> = Arc::default();
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            match self.reader.next().await? {
                ServerMessage::RowDescription(names) => columns = names.into(),
                ServerMessage::DataRow(values) => rows.push(Row::new(columns.clone(), values)),
                ServerMessage::CommandComplete(_) | ServerMessage::EmptyQueryResponse => {}
                ServerMessage::ErrorResponse(report) => {
                    failure.get_or_insert(report);
                }
                ServerMessage::ReadyForQuery => break,
                other => {
                    let activity = "running a simple query";
                    return Err(Error::Unexpected { message: other.name(), activity });
                }
            }
        }
        self.busy = false;
        failure.map_or(Ok(rows), |report| Err(report.into()))
    }

    /// Runs a command that answers with a COPY stream, and hands out that stream.
    pub async fn copy_out(mut self, sql: &str) -> Result<CopyOut, Error> {
        self.send_query(sql).await?;
        match self.reader.next().await? {
            ServerMessage::CopyOutResponse => Ok(CopyOut::new(self.reader, self.writer)),
            ServerMessage::ErrorResponse(report) => Err(report.into()),
            other => {
                let activity = "waiting for a COPY stream";
                Err(Error::Unexpected { message: other.name(), activity })
            }
        }
    }

    /// Runs a command that wants a COPY stream, and hands out that stream.
    pub async fn copy_in(mut self, sql: &str) -> Result<CopyIn, Error> {
        self.send_query(sql).await?;
        match self.reader.next().await? {
            ServerMessage::CopyInResponse => Ok(CopyIn::new(self.reader, self.writer)),
            ServerMessage::ErrorResponse(report) => Err(report.into()),
            other => {
                let activity = "waiting for the server to accept a COPY stream";
                Err(Error::Unexpected { message: other.name(), activity })
            }
        }
    }

    /// Runs a command that opens COPY streams in both directions, such as START_REPLICATION.
    pub async fn copy_both(mut self, sql: &str) -> Result<CopyBoth, Error> {
        self.send_query(sql).await?;
        match self.reader.next().await? {
            ServerMessage::CopyBothResponse => Ok(CopyBoth::new(self.reader, self.writer)),
            ServerMessage::ErrorResponse(report) => Err(report.into()),
            other => {
                let activity = "waiting for a duplex COPY stream";
                Err(Error::Unexpected { message: other.name(), activity })
            }
        }
    }

    /// Ends the session politely. Dropping the client works too, but the server logs it.
    pub async fn close(mut self) -> Result<(), Error> {
        write_terminate(&mut self.writer.buffer)?;
        self.writer.flush().await
    }

    async fn send_query(&mut self, sql: &str) -> Result<(), Error> {
        if self.busy {
            return Err(Error::Interrupted);
        }
        write_query(&mut self.writer.buffer, sql)?;
        self.busy = true;
        self.writer.flush().await
    }
}
