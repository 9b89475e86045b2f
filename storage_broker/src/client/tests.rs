use super::*;

#[tokio::test]
async fn an_http_endpoint_is_accepted_without_connecting() {
    connect(crate::DEFAULT_ENDPOINT, Duration::from_secs(5)).unwrap();
    connect("http://localhost:1/", Duration::from_secs(5)).unwrap();
}

#[tokio::test]
async fn other_endpoints_are_refused_with_what_to_give() {
    for endpoint in ["https://broker:50051", "localhost:50051", "/path", "ftp://x"] {
        let error = connect(endpoint, Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().contains("http://host:port"), "{endpoint}: {error}");
    }
    assert!(matches!(
        connect("http://not a uri", Duration::from_secs(5)),
        Err(ConnectError::Uri { .. })
    ));
}
