//! COPY streams: how they end, and a writer that turns bytes into CopyData messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pq_proto::{BeMessage, sqlstate};
use tokio::io::AsyncWrite;

use crate::backend::PostgresBackend;
use crate::error::ConnectionError;
use crate::stream::BackendWriter;

/// Why a COPY stream ended. None of them leads back to query mode: the connection closes.
#[derive(Debug, thiserror::Error)]
pub enum CopyStreamEnd {
    /// The client is leaving.
    #[error("received Terminate")]
    Terminate,
    /// The client closed the connection.
    #[error("EOF on COPY stream")]
    Eof,
    /// The client ended its stream well.
    #[error("received CopyDone")]
    CopyDone,
    /// The client gave up.
    #[error("received CopyFail")]
    CopyFail,
    /// The connection failed.
    #[error("{0}")]
    Disconnected(#[from] ConnectionError),
    /// The server has a normal reason to end the stream; the text is for the client.
    #[error("{0}")]
    ServerInitiated(String),
    /// Anything else, a failure of the server.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl From<io::Error> for CopyStreamEnd {
    fn from(error: io::Error) -> Self {
        Self::Disconnected(ConnectionError::Io(error))
    }
}

impl PostgresBackend {
    /// Tells the client why a COPY stream ended, logs it once, and closes the connection,
    /// because a clean return to query mode is not offered.
    pub async fn handle_copy_stream_end(&mut self, end: CopyStreamEnd) {
        match &end {
            CopyStreamEnd::Disconnected(error) if !error.is_expected() => {
                tracing::error!("terminated: {end}");
            }
            CopyStreamEnd::Other(error) => tracing::error!("terminated: {error:?}"),
            _ => tracing::info!("terminated: {end}"),
        }
        if let Err(error) = self.send_copy_stream_end(&end).await {
            tracing::info!("could not tell the client how its COPY stream ended: {error}");
        }
        self.close().await;
    }

    async fn send_copy_stream_end(&mut self, end: &CopyStreamEnd) -> Result<(), ConnectionError> {
        let text = end.to_string();
        // A NUL in a nested message must not cost the client the whole reply.
        let message = text.replace('\0', "\\0");
        let reply = match end {
            CopyStreamEnd::Terminate | CopyStreamEnd::Eof | CopyStreamEnd::Disconnected(_) => {
                return Ok(());
            }
            CopyStreamEnd::CopyDone => BeMessage::CopyDone,
            CopyStreamEnd::CopyFail | CopyStreamEnd::ServerInitiated(_) => {
                let sqlstate = sqlstate::SUCCESSFUL_COMPLETION;
                BeMessage::ErrorResponse { sqlstate, message: &message }
            }
            CopyStreamEnd::Other(_) => BeMessage::internal_error(&message),
        };
        self.write_message(&reply)?;
        self.flush().await
    }
}

/// Sends each write as exactly one CopyData message, after what was pending is flushed. The
/// caller sends CopyOutResponse before and CopyDone after.
#[derive(Debug)]
pub struct CopyOutWriter<'a> {
    writer: &'a mut BackendWriter,
}

impl<'a> CopyOutWriter<'a> {
    pub(crate) fn new(writer: &'a mut BackendWriter) -> Self {
        Self { writer }
    }
}

impl AsyncWrite for CopyOutWriter<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let writer = &mut self.get_mut().writer;
        ready!(writer.poll_flush(context))?;
        writer
            .write_message(&BeMessage::CopyData(bytes))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer.poll_flush(context)
    }
}
