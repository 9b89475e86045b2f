//! A real client against an encrypting server on a loopback socket.

use camino::{Utf8Path, Utf8PathBuf};
use postgres_backend::{AuthType, BeMessage, Handler, PostgresBackend, QueryError, RowDescriptor};
use postgres_client::{ClientTls, ConnectOptions, Error, SslMode};
use tls::ServerTls;
use tls::authority::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Says whether the conversation is encrypted, and echoes COPY data through separate halves.
struct TestHandler;

impl Handler for TestHandler {
    async fn process_query(
        &mut self,
        pgb: &mut PostgresBackend,
        query: &str,
    ) -> Result<(), QueryError> {
        if query == "echo" {
            pgb.write_message(&BeMessage::CopyBothResponse)?.flush().await?;
            let (mut reader, mut writer) = pgb.split()?;
            let end = loop {
                let payload = match reader.read_copy_message().await {
                    Ok(payload) => payload,
                    Err(end) => break end,
                };
                writer.write_message(&BeMessage::CopyData(&payload))?.flush().await?;
            };
            pgb.unsplit(reader, writer);
            pgb.handle_copy_stream_end(end).await;
            return Ok(());
        }
        let answer = pgb.is_encrypted().to_string();
        pgb.write_message(&BeMessage::RowDescription(&[RowDescriptor::text("encrypted")]))?
            .write_message(&BeMessage::DataRow(&[Some(answer.as_bytes())]))?
            .write_message(&BeMessage::CommandComplete("SELECT 1"))?;
        Ok(())
    }
}

struct Server {
    dir: tempfile::TempDir,
    port: u16,
}

impl Server {
    async fn start(encrypts: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("test authority").unwrap();
        authority.issue(Utf8Path::from_path(dir.path()).unwrap(), &["localhost"]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { dir, port: listener.local_addr().unwrap().port() };
        let files = (server.path("server.crt"), server.path("server.key"));
        let load = || ServerTls::load(&files.0, &files.1, tls::ALPN_POSTGRESQL).unwrap();
        let tls = encrypts.then(load);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let backend = PostgresBackend::new(socket, AuthType::Trust).unwrap();
                let backend = backend.with_tls(tls.clone());
                tokio::spawn(async move {
                    backend.run(&mut TestHandler, &CancellationToken::new()).await
                });
            }
        });
        server
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().join(name)
    }

    fn options(&self, host: &str, mode: SslMode) -> ConnectOptions {
        let tls = ClientTls { mode, root_cert: Some(self.path("ca.crt")) };
        ConnectOptions { tls, ..ConnectOptions::new(host, self.port) }
    }

    /// What the server says about the connection.
    async fn is_encrypted(&self, host: &str, mode: SslMode) -> Result<bool, Error> {
        let mut client = self.options(host, mode).connect().await?;
        let rows = client.simple_query("encrypted?").await?;
        Ok(rows[0].by_name("encrypted") == Some("true"))
    }
}

#[tokio::test]
async fn every_mode_but_disable_encrypts_where_it_is_offered() {
    let server = Server::start(true).await;
    for mode in [SslMode::Prefer, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        assert!(server.is_encrypted("localhost", mode).await.unwrap(), "{mode}");
    }
}

#[tokio::test]
async fn clients_that_do_not_ask_for_encryption_are_refused() {
    let server = Server::start(true).await;
    let error = server.is_encrypted("localhost", SslMode::Disable).await.unwrap_err();
    assert_eq!(error.server_report().unwrap().message, "must connect with TLS");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_in_full_verification_only() {
    let server = Server::start(true).await;
    let error = server.is_encrypted("127.0.0.1", SslMode::VerifyFull).await.unwrap_err();
    assert!(matches!(error, Error::TlsHandshake { .. }) && !error.is_transient(), "{error}");
    assert!(server.is_encrypted("127.0.0.1", SslMode::VerifyCa).await.unwrap());
}

#[tokio::test]
async fn a_server_without_a_certificate_is_enough_for_prefer_only() {
    let server = Server::start(false).await;
    assert!(!server.is_encrypted("localhost", SslMode::Prefer).await.unwrap());
    for mode in [SslMode::Require, SslMode::VerifyFull] {
        let error = server.is_encrypted("localhost", mode).await.unwrap_err();
        assert!(matches!(error, Error::NoTls { .. }), "{error}");
    }
}

#[tokio::test]
async fn copy_streams_in_both_directions_are_encrypted_too() {
    let server = Server::start(true).await;
    let client = server.options("localhost", SslMode::VerifyFull).connect().await.unwrap();
    let (mut receiver, mut sender) = client.copy_both("echo").await.unwrap().split();
    for length in [1, 100_000, 5] {
        sender.send(&vec![7; length]).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap().len(), length);
    }
}

#[tokio::test]
async fn bytes_slipped_in_before_the_session_end_the_connection() {
    let server = Server::start(true).await;
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    // An SSLRequest, and at once what somebody on the way would want to have said.
    let request = [0, 0, 0, 8, 4, 210, 22, 47];
    socket.write_all(&[&request[..], b"Q\0\0\0\x05\0"].concat()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"S");
}
