use super::*;

fn try_connect(endpoint: &str, ca_file: Option<&Utf8Path>) -> Result<BrokerClient, String> {
    connect(endpoint, Duration::from_secs(5), ca_file).map_err(|error| error.to_string())
}

#[tokio::test]
async fn endpoints_are_accepted_without_connecting() {
    let dir = tempfile::tempdir().unwrap();
    let authority = tls::authority::Authority::new("test authority").unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let files = authority.issue(dir, &["localhost"]).unwrap();
    try_connect(crate::DEFAULT_ENDPOINT, None).unwrap();
    try_connect("http://localhost:1/", None).unwrap();
    for endpoint in ["https://localhost:1/", "https://127.0.0.1:1", "https://[::1]:1"] {
        try_connect(endpoint, Some(&files.ca_file)).unwrap();
    }
}

#[tokio::test]
async fn other_endpoints_are_refused_with_what_to_give() {
    for endpoint in ["localhost:50051", "/path", "ftp://x"] {
        let error = try_connect(endpoint, None).unwrap_err();
        assert!(error.contains("http://host:port or https://host:port"), "{endpoint}: {error}");
    }
    assert!(matches!(
        connect("http://not a uri", Duration::from_secs(5), None),
        Err(ConnectError::Uri { .. })
    ));
}

#[tokio::test]
async fn encryption_without_anybody_to_trust_is_refused() {
    let error = try_connect("https://broker:50051", None).unwrap_err();
    assert!(error.contains("https://broker:50051") && error.contains("trust"), "{error}");
    let error = try_connect("https://broker:50051", Some("/no/ca.crt".into())).unwrap_err();
    assert!(error.contains("/no/ca.crt"), "{error}");
}
