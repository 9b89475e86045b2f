//! The conversation: handshake, authentication, then one command after the other.

use std::time::Duration;

use bytes::Bytes;
use pq_proto::frontend::without_nul;
use pq_proto::{BeMessage, FeMessage, ProtocolError, StartupPacket, StartupParameters};
use tokio_util::sync::CancellationToken;

use crate::backend::{AuthType, ConnectionState, PostgresBackend};
use crate::error::{ConnectionError, QueryError};
use crate::handler::Handler;

/// How long a last flush may take once shutdown was requested.
const SHUTDOWN_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

enum Next {
    Continue,
    Break,
}

impl PostgresBackend {
    /// Serves the connection until the client leaves, it fails, or `cancel` fires. A connection
    /// that merely went away is a success; an error is worth the operator's attention.
    pub async fn run<H: Handler>(
        mut self,
        handler: &mut H,
        cancel: &CancellationToken,
    ) -> Result<(), QueryError> {
        let outcome = self.converse(handler, cancel).await;
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = self.close() => {}
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(QueryError::Shutdown) => {
                tracing::info!("Stopped due to shutdown");
                Ok(())
            }
            Err(QueryError::Reconnect) => {
                tracing::info!("Stopped due to handler reconnect request");
                Ok(())
            }
            Err(QueryError::Disconnected(error)) => {
                tracing::info!("Disconnected ({error})");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn converse<H: Handler>(
        &mut self,
        handler: &mut H,
        cancel: &CancellationToken,
    ) -> Result<(), QueryError> {
        // The handshake is dropped half-way only when the whole connection is.
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                tracing::info!("shutdown request received during handshake");
                return Err(QueryError::Shutdown);
            }
            outcome = self.handshake(handler) => outcome?,
        }
        while self.state == ConnectionState::Established {
            // Reading is cancel safe.
            let message = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    tracing::info!("shutdown request received in run_message_loop");
                    return Err(QueryError::Shutdown);
                }
                message = self.read_message() => message?,
            };
            let Some(message) = message else { break };
            match self.process_message(handler, message, cancel).await? {
                Next::Continue => self.flush_or_shutdown(cancel).await?,
                Next::Break => break,
            }
        }
        Ok(())
    }

    async fn flush_or_shutdown(&mut self, cancel: &CancellationToken) -> Result<(), QueryError> {
        if self.state == ConnectionState::Closed {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                tracing::info!("shutdown request received during response flush");
                // Best effort: the client learns its result if it is still reading.
                let _ = tokio::time::timeout(SHUTDOWN_FLUSH_TIMEOUT, self.flush()).await;
                Err(QueryError::Shutdown)
            }
            outcome = self.flush() => Ok(outcome?),
        }
    }

    async fn handshake<H: Handler>(&mut self, handler: &mut H) -> Result<(), QueryError> {
        while self.state == ConnectionState::Initialization {
            match self.reader()?.read_startup().await? {
                None => return Err(eof("EOF during handshake")),
                Some(StartupPacket::SslRequest) => self.answer_ssl_request().await?,
                Some(StartupPacket::GssEncRequest) => {
                    self.write_message(&BeMessage::EncryptionResponse(false))?.flush().await?;
                }
                Some(StartupPacket::StartupMessage { parameters, .. }) => {
                    self.start_session(handler, &parameters).await?;
                }
                Some(StartupPacket::CancelRequest { .. }) => {
                    let text = "Unexpected CancelRequest message during handshake";
                    return Err(ProtocolError::Unexpected(text.to_owned()).into());
                }
            }
        }
        if self.state == ConnectionState::Authentication {
            match self.read_message().await? {
                None => return Err(eof("EOF during auth")),
                Some(FeMessage::PasswordMessage(token)) => {
                    self.authenticate(handler, without_nul(token)).await?;
                }
                Some(other) => {
                    let name = other.name();
                    let text = format!("Unexpected message {name} while waiting for handshake");
                    return Err(ProtocolError::Unexpected(text).into());
                }
            }
        }
        Ok(())
    }

    async fn answer_ssl_request(&mut self) -> Result<(), QueryError> {
        if self.is_encrypted() {
            let text = "SSLRequest on a connection that is encrypted already";
            return Err(ProtocolError::Unexpected(text.to_owned()).into());
        }
        let Some(tls) = self.tls.clone() else {
            self.write_message(&BeMessage::EncryptionResponse(false))?;
            return Ok(self.flush().await?);
        };
        self.write_message(&BeMessage::EncryptionResponse(true))?.flush().await?;
        Ok(self.encrypt(&tls).await?)
    }

    async fn start_session<H: Handler>(
        &mut self,
        handler: &mut H,
        parameters: &StartupParameters,
    ) -> Result<(), QueryError> {
        if self.tls.is_some() && !self.is_encrypted() {
            let error = QueryError::Unauthorized("must connect with TLS".into());
            self.state = ConnectionState::Closed;
            self.write_error(error.sqlstate(), "must connect with TLS")?;
            self.flush().await?;
            return Err(error);
        }
        if let Err(error) = handler.startup(self, parameters).await {
            self.refuse(&error).await?;
            return Err(error);
        }
        match self.auth_type {
            AuthType::Trust => {
                self.write_message(&BeMessage::AuthenticationOk)?;
                let statuses = [
                    ("client_encoding", "UTF8"),
                    ("integer_datetimes", "on"),
                    // Some drivers insist on a version. It selects nothing.
                    ("server_version", "14.1"),
                ];
                for (name, value) in statuses {
                    self.write_message(&BeMessage::ParameterStatus { name, value })?;
                }
                self.write_message(&BeMessage::ReadyForQuery)?;
                self.state = ConnectionState::Established;
            }
            AuthType::NeonJWT => {
                self.write_message(&BeMessage::AuthenticationCleartextPassword)?;
                self.state = ConnectionState::Authentication;
            }
        }
        Ok(self.flush().await?)
    }

    async fn authenticate<H: Handler>(
        &mut self,
        handler: &mut H,
        token: Bytes,
    ) -> Result<(), QueryError> {
        if let Err(error) = handler.check_auth(self, &token).await {
            self.refuse(&error).await?;
            return Err(error);
        }
        self.write_message(&BeMessage::AuthenticationOk)?
            .write_message(&BeMessage::ParameterStatus { name: "client_encoding", value: "UTF8" })?
            .write_message(&BeMessage::ReadyForQuery)?
            .flush()
            .await?;
        self.state = ConnectionState::Established;
        Ok(())
    }

    async fn refuse(&mut self, error: &QueryError) -> Result<(), QueryError> {
        self.state = ConnectionState::Closed;
        self.write_error(error.sqlstate(), &error.reply_text())?;
        Ok(self.flush().await?)
    }

    async fn process_message<H: Handler>(
        &mut self,
        handler: &mut H,
        message: FeMessage,
        cancel: &CancellationToken,
    ) -> Result<Next, QueryError> {
        match message {
            FeMessage::Query(text) => {
                let query = query_text(&without_nul(text))?;
                return self.run_simple_query(handler, &query, cancel).await;
            }
            FeMessage::Parse(text) => {
                self.prepared_query = Some(text);
                self.write_message(&BeMessage::ParseComplete)?;
            }
            FeMessage::Describe => {
                self.write_message(&BeMessage::ParameterDescription)?
                    .write_message(&BeMessage::NoData)?;
            }
            FeMessage::Bind => {
                self.write_message(&BeMessage::BindComplete)?;
            }
            FeMessage::Close => {
                self.write_message(&BeMessage::CloseComplete)?;
            }
            FeMessage::Execute => {
                let query = query_text(&self.prepared_query.clone().unwrap_or_default())?;
                return self.run_prepared_query(handler, &query, cancel).await;
            }
            FeMessage::Sync => {
                self.write_message(&BeMessage::ReadyForQuery)?;
            }
            FeMessage::Terminate => return Ok(Next::Break),
            FeMessage::CopyData(_)
            | FeMessage::CopyDone
            | FeMessage::CopyFail(_)
            | FeMessage::PasswordMessage(_) => {
                let error = ProtocolError::Unexpected(message.name().to_owned());
                return Err(QueryError::Other(error.into()));
            }
        }
        Ok(Next::Continue)
    }

    async fn run_simple_query<H: Handler>(
        &mut self,
        handler: &mut H,
        query: &str,
        cancel: &CancellationToken,
    ) -> Result<Next, QueryError> {
        tracing::debug!("processing query {query:?}");
        if let Err(error) = handler.process_query(self, query).await {
            let text = error.reply_text();
            self.reply_to_failure(error, query, &text, cancel)?;
        }
        if self.state == ConnectionState::Closed {
            return Ok(Next::Break);
        }
        self.write_message(&BeMessage::ReadyForQuery)?;
        Ok(Next::Continue)
    }

    /// As a simple query, but ReadyForQuery comes with Sync and errors are told in full.
    async fn run_prepared_query<H: Handler>(
        &mut self,
        handler: &mut H,
        query: &str,
        cancel: &CancellationToken,
    ) -> Result<Next, QueryError> {
        tracing::debug!("executing prepared query {query:?}");
        if let Err(error) = handler.process_query(self, query).await {
            let text = error.to_string();
            self.reply_to_failure(error, query, &text, cancel)?;
        }
        let closed = self.state == ConnectionState::Closed;
        Ok(if closed { Next::Break } else { Next::Continue })
    }

    /// Sends the error reply, or decides that the connection ends without one.
    fn reply_to_failure(
        &mut self,
        error: QueryError,
        query: &str,
        text: &str,
        cancel: &CancellationToken,
    ) -> Result<(), QueryError> {
        if cancel.is_cancelled() && !matches!(error, QueryError::Shutdown) {
            // A compute shows an error reply to its user, but retries a dropped connection.
            tracing::info!("dropped error response during shutdown: {error:#}");
            return Err(QueryError::Shutdown);
        }
        error.log(query);
        if matches!(error, QueryError::Shutdown | QueryError::Simulated) {
            return Err(error);
        }
        if self.state != ConnectionState::Closed {
            self.write_error(error.sqlstate(), text)?;
        }
        Ok(())
    }

    fn write_error(&mut self, sqlstate: &str, text: &str) -> Result<(), ConnectionError> {
        // A NUL has no encoding; losing the whole reply to it would be worse.
        let message = text.replace('\0', "\\0");
        self.write_message(&BeMessage::ErrorResponse { sqlstate, message: &message })?;
        Ok(())
    }
}

fn query_text(bytes: &[u8]) -> Result<String, QueryError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| QueryError::Other(ProtocolError::NotUtf8("query text").into()))?;
    Ok(text.to_owned())
}

fn eof(text: &'static str) -> QueryError {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, text).into()
}
