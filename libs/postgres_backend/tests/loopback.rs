//! A real client against a server on a loopback socket.

use std::net::SocketAddr;
use std::time::Duration;

use postgres_backend::{
    AuthType, BeMessage, CopyStreamEnd, Handler, PostgresBackend, QueryError, RowDescriptor,
    StartupParameters,
};
use postgres_client::{Client, ConnectOptions, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct TestHandler {
    options: Vec<String>,
}

impl Handler for TestHandler {
    async fn startup(
        &mut self,
        _: &mut PostgresBackend,
        parameters: &StartupParameters,
    ) -> Result<(), QueryError> {
        self.options = parameters.options();
        Ok(())
    }

    async fn check_auth(
        &mut self,
        _: &mut PostgresBackend,
        token: &[u8],
    ) -> Result<(), QueryError> {
        match token {
            b"right" => Ok(()),
            _ => Err(QueryError::Unauthorized("the token is not right".into())),
        }
    }

    async fn process_query(
        &mut self,
        pgb: &mut PostgresBackend,
        query: &str,
    ) -> Result<(), QueryError> {
        match query {
            "options" => {
                let columns = [RowDescriptor::text("options"), RowDescriptor::text("nothing")];
                pgb.write_message(&BeMessage::RowDescription(&columns))?;
                for option in &self.options {
                    pgb.write_message(&BeMessage::DataRow(&[Some(option.as_bytes()), None]))?;
                }
                pgb.write_message(&BeMessage::CommandComplete("SELECT"))?;
                Ok(())
            }
            "copy out" => copy_out(pgb, true).await,
            "broken copy out" => copy_out(pgb, false).await,
            "echo" => {
                echo(pgb).await;
                Ok(())
            }
            "missing" => Err(QueryError::NotFound("secret name".into())),
            "simulated" => Err(QueryError::Simulated),
            other => {
                Err(QueryError::Other(anyhow::anyhow!("cause").context(format!("no {other}"))))
            }
        }
    }
}

async fn copy_out(pgb: &mut PostgresBackend, succeed: bool) -> Result<(), QueryError> {
    pgb.write_message(&BeMessage::CopyOutResponse)?;
    let mut writer = pgb.copy_out_writer()?;
    for chunk in ["some ", "long ", "text"] {
        writer.write_all(chunk.as_bytes()).await?;
    }
    writer.flush().await?;
    if !succeed {
        return Err(QueryError::Other(anyhow::anyhow!("the source failed")));
    }
    pgb.write_message(&BeMessage::CopyDone)?.write_message(&BeMessage::CommandComplete("COPY"))?;
    Ok(())
}

/// Echoes each payload until the client says "stop"; uses separate halves as the daemons do.
async fn echo(pgb: &mut PostgresBackend) {
    pgb.write_message(&BeMessage::CopyBothResponse).unwrap().flush().await.unwrap();
    let (mut reader, mut writer) = pgb.split().unwrap();
    let end = loop {
        match reader.read_copy_message().await {
            Ok(payload) if &payload[..] == b"stop" => {
                break CopyStreamEnd::ServerInitiated("that was enough".to_owned());
            }
            Ok(payload) => {
                writer.write_message(&BeMessage::CopyData(&payload)).unwrap();
                writer.flush().await.unwrap();
            }
            Err(end) => break end,
        }
    };
    pgb.unsplit(reader, writer);
    pgb.handle_copy_stream_end(end).await;
}

struct Server {
    address: SocketAddr,
    cancel: CancellationToken,
    connection: JoinHandle<Result<(), QueryError>>,
}

impl Server {
    /// Serves a single connection.
    async fn start(auth_type: AuthType) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let connection = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let pgb = PostgresBackend::new(socket, auth_type).unwrap();
            pgb.run(&mut TestHandler::default(), &token).await
        });
        Self { address, cancel, connection }
    }

    fn options(&self) -> ConnectOptions {
        ConnectOptions::new("127.0.0.1", self.address.port())
    }

    async fn connect(&self) -> Client {
        self.options().connect().await.unwrap()
    }

    /// How the server saw the connection end.
    async fn outcome(self) -> Result<(), QueryError> {
        tokio::time::timeout(Duration::from_secs(10), self.connection).await.unwrap().unwrap()
    }
}

/// Sends raw bytes to a fresh server and returns everything it answers.
async fn answer_to(bytes: &[u8]) -> (Vec<u8>, Result<(), QueryError>) {
    let server = Server::start(AuthType::Trust).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    // A reset is as good an end as any when the server refuses to read on.
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
    (answer, server.outcome().await)
}

#[tokio::test]
async fn a_simple_query_returns_rows_with_nulls() {
    let server = Server::start(AuthType::Trust).await;
    let words = ["-c", "a=b c", r"d\e"].map(str::to_owned).to_vec();
    let options = ConnectOptions { options: words.clone(), ..server.options() };
    let mut client = options.connect().await.unwrap();
    let rows = client.simple_query("options").await.unwrap();
    let received: Vec<_> = rows.iter().map(|row| row.by_name("options").unwrap()).collect();
    assert_eq!(received, words);
    assert_eq!(rows[0].get(1), None);
}

#[tokio::test]
async fn a_failed_query_reports_the_chain_and_leaves_the_session_usable() {
    let server = Server::start(AuthType::Trust).await;
    let mut client = server.connect().await;
    let error = client.simple_query("such thing").await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("XX000"));
    assert_eq!(error.server_report().unwrap().message, "no such thing: cause");
    assert!(client.simple_query("options").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_not_found_is_not_told_to_the_client() {
    let server = Server::start(AuthType::Trust).await;
    let error = server.connect().await.simple_query("missing").await.unwrap_err();
    assert_eq!(error.server_report().unwrap().message, "not found");
}

#[tokio::test]
async fn a_simulated_error_drops_the_connection_and_fails_the_task() {
    let server = Server::start(AuthType::Trust).await;
    let mut client = server.connect().await;
    let error = client.simple_query("simulated").await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
    assert!(matches!(server.outcome().await, Err(QueryError::Simulated)));
}

#[tokio::test]
async fn a_copy_out_stream_arrives_whole() {
    let server = Server::start(AuthType::Trust).await;
    let mut stream = server.connect().await.copy_out("copy out").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "some long text");
}

#[tokio::test]
async fn an_error_inside_a_copy_out_stream_surfaces_in_the_read() {
    let server = Server::start(AuthType::Trust).await;
    let mut stream = server.connect().await.copy_out("broken copy out").await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("the source failed"), "{error}");
}

#[tokio::test]
async fn a_duplex_stream_echoes_until_the_server_ends_it() {
    let server = Server::start(AuthType::Trust).await;
    let stream = server.connect().await.copy_both("echo").await.unwrap();
    let (mut receiver, mut sender) = stream.split();
    let large = vec![7; 200_000];
    sender.send(&large).await.unwrap();
    assert_eq!(receiver.recv().await.unwrap().unwrap(), large);
    sender.send(b"stop").await.unwrap();
    let error = receiver.recv().await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("00000"));
    assert_eq!(error.server_report().unwrap().message, "that was enough");
    server.outcome().await.unwrap();
}

#[tokio::test]
async fn copy_done_is_answered_by_copy_done() {
    let server = Server::start(AuthType::Trust).await;
    let (mut receiver, mut sender) =
        server.connect().await.copy_both("echo").await.unwrap().split();
    sender.finish().await.unwrap();
    assert_eq!(receiver.recv().await.unwrap(), None);
    server.outcome().await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_is_refused_without_details() {
    let server = Server::start(AuthType::NeonJWT).await;
    let options = ConnectOptions { password: Some("wrong".into()), ..server.options() };
    let error = options.connect().await.unwrap_err();
    assert_eq!(error.server_report().unwrap().message, "JWT authentication error");
    assert!(matches!(server.outcome().await, Err(QueryError::Unauthorized(_))));
}

#[tokio::test]
async fn the_right_token_opens_a_session() {
    let server = Server::start(AuthType::NeonJWT).await;
    let options = ConnectOptions { password: Some("right".into()), ..server.options() };
    let mut client = options.connect().await.unwrap();
    client.simple_query("options").await.unwrap();
}

#[tokio::test]
async fn shutdown_ends_an_idle_session_successfully() {
    let server = Server::start(AuthType::Trust).await;
    let mut client = server.connect().await;
    server.cancel.cancel();
    server.outcome().await.unwrap();
    assert!(client.simple_query("options").await.is_err());
}

#[tokio::test]
async fn encryption_is_declined_and_the_session_goes_on() {
    let mut bytes = vec![0, 0, 0, 8, 4, 210, 22, 47];
    bytes.extend([0, 0, 0, 8, 4, 210, 22, 48]);
    bytes.extend([0, 0, 0, 9, 0, 3, 0, 0, 0]);
    let (answer, outcome) = answer_to(&bytes).await;
    assert_eq!(&answer[..3], b"NNR");
    outcome.unwrap();
}

#[tokio::test]
async fn garbage_at_startup_only_ends_the_connection() {
    for garbage in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[0; 100], &[0xff; 100], &[0, 0, 0, 40, 1]] {
        let (answer, outcome) = answer_to(garbage).await;
        assert_eq!(answer, b"");
        outcome.unwrap();
    }
}

#[tokio::test]
async fn an_oversized_message_length_ends_the_connection() {
    let mut bytes = vec![0, 0, 0, 9, 0, 3, 0, 0, 0];
    bytes.extend([b'Q', 0xff, 0xff, 0xff, 0xf0, b'x']);
    let (answer, outcome) = answer_to(&bytes).await;
    assert_eq!(answer.last(), Some(&b'I'), "the session was established first");
    outcome.unwrap();
}

#[tokio::test]
async fn a_message_out_of_place_fails_the_task() {
    let mut bytes = vec![0, 0, 0, 9, 0, 3, 0, 0, 0];
    bytes.extend([b'd', 0, 0, 0, 4]);
    let (_, outcome) = answer_to(&bytes).await;
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("unexpected message type: CopyData"), "{error}");
}

#[tokio::test]
async fn the_extended_protocol_runs_the_unnamed_statement() {
    let mut bytes = vec![0, 0, 0, 9, 0, 3, 0, 0, 0];
    bytes.extend(b"P\0\0\0\x0f\0options\0\0\0");
    bytes.extend(b"B\0\0\0\x0c\0\0\0\0\0\0\0\0");
    bytes.extend(b"D\0\0\0\x06S\0");
    bytes.extend(b"E\0\0\0\x09\0\0\0\0\0");
    bytes.extend(b"S\0\0\0\x04X\0\0\0\x04");
    let (answer, outcome) = answer_to(&bytes).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("SELECT\0"), "{text:?}");
    assert_eq!(answer.last(), Some(&b'I'));
    outcome.unwrap();
}
