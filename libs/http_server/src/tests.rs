use std::time::Duration;

use axum::Json;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utils::auth::{JwtAuth, Scope, encode_from_key_file, generate_key_pair};

use super::extract::{JsonBody, NoBody, PathParams, QueryParams};
use super::*;

/// A server on a free port that ends with the test.
struct Server {
    url: String,
    cancel: CancellationToken,
}

impl Server {
    async fn start(routes: Router, options: HttpOptions) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let cancel = CancellationToken::new();
        tokio::spawn(serve(listener, wrap(routes, options), cancel.clone()));
        Server { url, cancel }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: &'static str) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let response = reqwest::Client::new().post(url).body(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn routes() -> Router {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        size: u32,
    }
    Router::new()
        .route("/v1/status", get(async || Json(json!({"id": 1}))))
        .route("/v1/size", post(async |JsonBody(body): JsonBody<Body>| Json(body.size)))
        .route("/v1/empty", post(async |_: NoBody| Json(())))
        .route("/v1/item/{id}", get(async |path: PathParams| path.parse::<u32>("id").map(Json)))
        .route(
            "/v1/query",
            get(async |query: QueryParams| query.must_parse::<bool>("flag").map(Json)),
        )
        .route("/v1/panic", get(async || -> Json<()> { panic!("on purpose") }))
        .route(
            "/v1/broken",
            get(async || -> Result<Json<()>, ApiError> {
                Err(ApiError::internal(anyhow::anyhow!("secret").context("outermost")))
            }),
        )
}

async fn server() -> Server {
    Server::start(routes(), HttpOptions::default()).await
}

#[tokio::test]
async fn unknown_paths_and_methods_are_page_not_found() {
    let server = server().await;
    let not_found = (404, json!({"msg": "page not found"}));
    assert_eq!(server.get("/nowhere").await, not_found);
    assert_eq!(server.post("/v1/status", "").await, not_found);
}

#[tokio::test]
async fn a_trailing_slash_is_tolerated() {
    assert_eq!(server().await.get("/v1/status/").await, (200, json!({"id": 1})));
    assert_eq!(server().await.get("/v1/query/?flag=true").await, (200, json!(true)));
}

#[tokio::test]
async fn bodies_are_checked() {
    let server = server().await;
    assert_eq!(server.post("/v1/size", r#"{"size": 7}"#).await, (200, json!(7)));
    let message_of = async |path, body| {
        let (status, body) = server.post(path, body).await;
        assert_eq!(status, 400);
        body["msg"].as_str().unwrap().to_owned()
    };
    assert!(message_of("/v1/size", "").await.contains("missing request body"));
    let text = message_of("/v1/size", r#"{"size": "x"}"#).await;
    assert!(text.contains("Failed to parse json request"), "{text}");
    assert!(text.contains("size") && text.contains("invalid type"), "{text}");
    let text = message_of("/v1/size", r#"{"size": 1, "color": 2}"#).await;
    assert!(text.contains("unknown field"), "{text}");
    assert!(message_of("/v1/size", r#"{"size": 1} trailing"#).await.contains("trailing"));
    assert!(message_of("/v1/empty", "x").await.contains("Unexpected request body"));
}

#[tokio::test]
async fn path_and_query_parameters_are_checked() {
    let server = server().await;
    assert_eq!(server.get("/v1/item/12").await, (200, json!(12)));
    for (path, expected) in [
        ("/v1/item/x", "failed to parse id"),
        ("/v1/query", "no flag specified in query parameters"),
        ("/v1/query?flag=1", "cannot parse query param flag"),
        ("/v1/query?flag=true&flag=true", "param flag specified more than once"),
    ] {
        let (status, body) = server.get(path).await;
        assert_eq!(status, 400);
        assert!(body["msg"].as_str().unwrap().contains(expected), "{body}");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_server_goes_on() {
    let server = server().await;
    let (status, body) = server.get("/v1/panic").await;
    assert_eq!((status, body), (500, json!({"msg": "HTTP request handler task panicked"})));
    assert_eq!(server.get("/v1/status").await.0, 200);
}

#[tokio::test]
async fn internal_errors_show_only_the_outermost_message() {
    assert_eq!(server().await.get("/v1/broken").await, (500, json!({"msg": "outermost"})));
}

#[tokio::test]
async fn request_ids_are_echoed_or_made() {
    let server = server().await;
    let url = format!("{}/v1/status", server.url);
    let id_of = |response: reqwest::Response| response.headers()["x-request-id"].clone();
    let fresh = id_of(reqwest::get(&url).await.unwrap());
    assert_eq!(fresh.len(), 36);
    let request = reqwest::Client::new().get(&url).header("x-request-id", "my-id");
    assert_eq!(id_of(request.send().await.unwrap()), "my-id");
}

#[tokio::test]
async fn metrics_are_text() {
    let server = server().await;
    let response = reqwest::get(format!("{}/metrics", server.url)).await.unwrap();
    assert_eq!(response.headers()["content-type"], metrics::CONTENT_TYPE);
    assert!(response.text().await.unwrap().contains("libmetrics_metric_handler_requests_total"));
}

#[tokio::test]
async fn failpoints_need_a_build_that_has_them() {
    let server = server().await;
    let body = r#"[{"name": "http-server-tests", "actions": "off"}]"#;
    let url = format!("{}/v1/failpoints", server.url);
    let response = reqwest::Client::new().put(url).body(body).send().await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    if utils::failpoints::compiled_in() {
        assert_eq!((status, text.as_str()), (200, "null"));
    } else {
        assert_eq!(status, 400);
        assert!(text.contains("compiled without failpoints support"), "{text}");
    }
}

#[tokio::test]
async fn tokens_are_checked_except_on_public_paths() {
    let dir = tempfile::tempdir().unwrap();
    let pair = generate_key_pair().unwrap();
    let key = dir.path().join("key.pem");
    std::fs::write(&key, &pair.private_pem).unwrap();
    let auth = JwtAuth::from_public_key_pem(&pair.public_pem).unwrap();
    let options = HttpOptions { auth: Some(SharedJwtAuth::new(auth)), ..HttpOptions::default() };
    let server = Server::start(routes(), options).await;

    assert_eq!(server.get("/v1/status").await.0, 200);
    let (status, body) = server.get("/v1/item/1").await;
    assert_eq!((status, &body["msg"]), (401, &json!("Unauthorized: missing authorization header")));

    let with_header = async |value: String| {
        let request = reqwest::Client::new().get(format!("{}/v1/item/1", server.url));
        let response = request.header("authorization", value).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = with_header("Basic abc".to_owned()).await;
    assert!(status == 401 && text.contains("malformed authorization header"), "{status} {text}");
    let (status, text) = with_header("Bearer abc".to_owned()).await;
    assert!(status == 403 && text.contains("Forbidden: JWT authentication error"), "{text}");
    let token = encode_from_key_file(&Claims::new(None, Scope::PageServerApi), &key).unwrap();
    assert_eq!(with_header(format!("Bearer {token}")).await, (200, "1".to_owned()));
}

#[tokio::test]
async fn a_handler_outlives_its_client_and_is_told() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
    let slow = async move |RequestCancellation(cancel): RequestCancellation| {
        sender.send("started").await.unwrap();
        cancel.cancelled().await;
        sender.send("told").await.unwrap();
    };
    let server =
        Server::start(Router::new().route("/slow", get(slow)), HttpOptions::default()).await;
    let request = tokio::spawn(reqwest::get(format!("{}/slow", server.url)));
    assert_eq!(receiver.recv().await, Some("started"));
    request.abort();
    let told = tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await;
    assert_eq!(told.unwrap(), Some("told"));
}

/// A server that presents a certificate for localhost, and a client that trusts it.
fn certified() -> (tempfile::TempDir, tls::ServerTls, tls::ClientTls) {
    let dir = tempfile::tempdir().unwrap();
    let path = camino::Utf8Path::from_path(dir.path()).unwrap();
    let authority = tls::authority::Authority::new("test authority").unwrap();
    let files = authority.issue(path, &["localhost"]).unwrap();
    let server = tls::ServerTls::load(&files.cert_file, &files.key_file, tls::ALPN_HTTP1).unwrap();
    let client = tls::ClientTls { mode: tls::SslMode::VerifyFull, root_cert: Some(files.ca_file) };
    (dir, server, client)
}

#[tokio::test]
async fn requests_are_answered_over_tls_while_others_dawdle() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_dir, tls, client) = certified();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cancel = CancellationToken::new();
    let router = wrap(routes(), HttpOptions::default());
    let serving = {
        let cancel = cancel.clone();
        async move { serve_tls(listener, &tls, router, cancel).await }
    };
    let served = tokio::spawn(serving);
    // One that never says anything, and one that speaks plain HTTP, delay nobody.
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /v1/status HTTP/1.1\r\n\r\n").await.unwrap();
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = tls::ClientTls::server_name("localhost").unwrap();
    let mut session = client.connector().unwrap().connect(name, socket).await.unwrap();
    let request = b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    session.write_all(request).await.unwrap();
    let mut answer = String::new();
    session.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"id":1}"#), "{answer}");
    cancel.cancel();
    served.await.unwrap().unwrap();
}
