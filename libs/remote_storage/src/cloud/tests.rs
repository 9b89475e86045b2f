use object_store::Error;

use super::*;
use crate::config::DEFAULT_CONCURRENCY_LIMIT;

fn not_found(text: &str) -> Error {
    Error::NotFound { path: "a".to_owned(), source: text.to_owned().into() }
}

#[test]
fn an_absent_container_is_not_an_absent_object() {
    let absent = "404 Not Found: <Code>BlobNotFound</Code>";
    assert!(errors::map("download", "a", not_found(absent)).is_not_found());
    for text in [
        "404 Not Found: <Code>ContainerNotFound</Code>",
        "404 Not Found: The specified bucket does not exist.",
    ] {
        let failure = errors::map("download", "a", not_found(text));
        assert!(!failure.is_not_found() && !failure.is_permanent(), "{failure}");
    }
}

#[test]
fn a_container_needs_an_account() {
    let config = AzureConfig {
        container_name: "c".to_owned(),
        container_region: "r".to_owned(),
        storage_account: Some("account".to_owned()),
        prefix_in_container: Some("/p/".to_owned()),
        endpoint: None,
        concurrency_limit: DEFAULT_CONCURRENCY_LIMIT,
    };
    let store = CloudStore::azure(&config).unwrap();
    assert_eq!(store.describe(), "container c/p");
    assert_eq!(store.concurrency_limit(), 100);
    if std::env::var_os(AZURE_ACCOUNT_VARIABLE).is_none() {
        let without = AzureConfig { storage_account: None, ..config };
        let refused = CloudStore::azure(&without).err().expect("there is no account");
        assert!(refused.to_string().contains("Account"), "{refused}");
    }
}
