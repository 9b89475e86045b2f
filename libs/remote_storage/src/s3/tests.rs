//! What is particular to S3; what every store must do is in the crate's suite.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::GenericRemoteStorage;
use crate::config::{DEFAULT_CONCURRENCY_LIMIT, DEFAULT_TIMEOUT};
use crate::tests::moto::{Moto, open};

fn path(text: &str) -> RemotePath {
    RemotePath::new(text).unwrap()
}

fn config_at(endpoint: String) -> S3Config {
    S3Config {
        bucket_name: "bucket".to_owned(),
        bucket_region: "eu-central-1".to_owned(),
        prefix_in_bucket: None,
        endpoint: Some(endpoint),
        concurrency_limit: DEFAULT_CONCURRENCY_LIMIT,
        max_keys_per_list_response: None,
        upload_storage_class: Some("STANDARD_IA".to_owned()),
    }
}

fn storage(config: &S3Config, timeout: Duration) -> GenericRemoteStorage {
    GenericRemoteStorage::new(Arc::new(open(config, timeout)), timeout)
}

/// Answers one request with `body`, and returns what was asked in lower case.
async fn answer_one(listener: TcpListener, status: &str, body: &str) -> String {
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = connection.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, content)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        if content.len() < length.map_or(0, |length| length.parse().unwrap()) {
            continue;
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).await.unwrap();
        return text;
    }
}

async fn listen() -> (TcpListener, S3Config) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, config_at(endpoint))
}

#[tokio::test]
async fn uploads_carry_no_checksum_that_a_store_may_refuse() {
    let (listener, config) = listen().await;
    let dir = tempfile::tempdir().unwrap();
    let file = camino::Utf8PathBuf::from_path_buf(dir.path().join("file")).unwrap();
    std::fs::write(&file, "content").unwrap();
    let store = storage(&config, DEFAULT_TIMEOUT);
    let (to, cancel) = (path("a/b"), CancellationToken::new());
    let upload = store.upload_file(&file, 7, &to, &cancel);
    let (request, result) = tokio::join!(answer_one(listener, "200 OK", ""), upload);
    result.unwrap();
    assert!(request.starts_with("put /bucket/a/b"), "the bucket is in the path: {request}");
    assert!(request.contains("content-length: 7"), "{request}");
    assert!(request.contains("x-amz-storage-class: standard_ia"), "{request}");
    for refused in ["checksum", "aws-chunked", "x-amz-trailer", "x-amz-sdk-checksum"] {
        assert!(!request.contains(refused), "{refused} in {request}");
    }
}

#[tokio::test]
async fn deletions_carry_the_digest_that_every_store_knows() {
    let (listener, config) = listen().await;
    let store = storage(&config, DEFAULT_TIMEOUT);
    let (paths, cancel) = ([path("a")], CancellationToken::new());
    let answer = "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></DeleteResult>";
    let delete = store.delete_objects(&paths, &cancel);
    let (request, result) = tokio::join!(answer_one(listener, "200 OK", answer), delete);
    result.unwrap();
    assert!(request.contains("content-md5: "), "{request}");
    assert!(!request.contains("x-amz-checksum"), "{request}");
}

#[tokio::test]
async fn a_refused_deletion_fails_the_call() {
    let (listener, config) = listen().await;
    let store = storage(&config, DEFAULT_TIMEOUT);
    let (paths, cancel) = ([path("kept"), path("gone")], CancellationToken::new());
    let answer = "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <Error><Key>kept</Key><Code>AccessDenied</Code><Message>locked</Message></Error></DeleteResult>";
    let delete = store.delete_objects(&paths, &cancel);
    let (_, result) = tokio::join!(answer_one(listener, "200 OK", answer), delete);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("1 of 2 objects were refused, such as kept: AccessDenied"), "{error}");
}

#[tokio::test]
async fn a_page_of_a_proxy_does_not_look_like_an_absent_object() {
    let (listener, config) = listen().await;
    let store = storage(&config, DEFAULT_TIMEOUT);
    let (from, cancel) = (path("a"), CancellationToken::new());
    let download = store.download_bytes(&from, &cancel);
    let answer = answer_one(listener, "404 Not Found", "<html>no such page</html>");
    let (_, result) = tokio::join!(answer, download);
    let error = result.unwrap_err();
    assert!(!error.is_not_found() && !error.is_permanent(), "{error}");
}

#[tokio::test]
async fn a_missing_bucket_does_not_look_like_an_absent_object() {
    let moto = Moto::start();
    let store = storage(&moto.config("absent", None), DEFAULT_TIMEOUT);
    let cancel = CancellationToken::new();
    let error = store.download_bytes(&path("a"), &cancel).await.unwrap_err();
    assert!(!error.is_not_found() && !error.is_permanent(), "{error}");
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_times_out() {
    let (_listener, config) = listen().await;
    let store = storage(&config, Duration::from_millis(200));
    let error = store.download_bytes(&path("a"), &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().starts_with("timeout"), "{error}");
    assert!(!error.is_permanent());
}

#[tokio::test]
async fn a_request_under_way_can_be_cancelled() {
    let (listener, config) = listen().await;
    let store = storage(&config, DEFAULT_TIMEOUT);
    let (from, cancel) = (path("a"), CancellationToken::new());
    let cancel_once_asked = async {
        let connection = listener.accept().await.unwrap();
        cancel.cancel();
        connection
    };
    let (_, result) = tokio::join!(cancel_once_asked, store.download_bytes(&from, &cancel));
    assert!(result.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn an_unreachable_store_is_an_error_worth_retrying() {
    let (listener, config) = listen().await;
    drop(listener);
    let store = storage(&config, DEFAULT_TIMEOUT);
    let error = store.download_bytes(&path("a"), &CancellationToken::new()).await.unwrap_err();
    assert!(!error.is_permanent() && !error.is_not_found(), "{error}");
}

#[tokio::test]
async fn a_download_holds_its_turn_until_it_is_read() {
    let moto = Moto::start();
    moto.bucket("turns").await;
    let mut config = moto.config("turns", None);
    moto.put_raw(&config, "a", "content").await;
    config.concurrency_limit = NonZeroUsize::MIN;
    let store = storage(&config, DEFAULT_TIMEOUT);
    let (from, cancel) = (path("a"), CancellationToken::new());
    let held = store.download(&from, &cancel).await.unwrap();
    // Writes have turns of their own.
    store.upload_bytes(Bytes::from("b"), &path("b"), &cancel).await.unwrap();
    let mut waiting = Box::pin(store.download(&from, &cancel));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!(held.collect(&from).await.unwrap(), "content");
    assert_eq!(waiting.await.unwrap().collect(&from).await.unwrap(), "content");
}
