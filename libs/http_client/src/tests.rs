use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers one request with `response` and returns what was received.
async fn answer_once(listener: TcpListener, response: &'static str) -> String {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut chunk = [0; 1024];
        let read = socket.read(&mut chunk).await.unwrap();
        request.extend_from_slice(&chunk[..read]);
    }
    socket.write_all(response.as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

async fn client_of(response: &'static str) -> (HttpClient, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(answer_once(listener, response));
    let token = Some("secret".to_owned());
    (HttpClient::new("pageserver", reqwest::Client::new(), &url, token), server)
}

#[tokio::test]
async fn a_call_presents_the_token_and_reads_the_answer() {
    let (client, server) =
        client_of("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"id\":7}").await;
    let answer: serde_json::Value = client.call(Method::GET, "/v1/status", |r| r).await.unwrap();
    assert_eq!(answer["id"], 7);
    let request = server.await.unwrap();
    assert!(request.starts_with("GET /v1/status HTTP/1.1"), "{request}");
    assert!(request.contains("Bearer secret"), "{request}");
}

#[tokio::test]
async fn a_refusal_carries_status_and_reason() {
    let (client, server) = client_of(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 23\r\n\r\n{\"msg\":\"Shutting down\"}",
    )
    .await;
    let error = client.send(Method::GET, "/v1/tenant", |r| r).await.unwrap_err();
    server.await.unwrap();
    assert!(error.is_transient());
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert!(error.to_string().contains("pageserver answered 503"), "{error}");
    assert!(error.to_string().ends_with("Shutting down"), "{error}");
}
