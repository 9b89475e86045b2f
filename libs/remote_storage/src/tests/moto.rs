//! A stand-in for S3: moto's server, from the Python environment of the test suite.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::config::{DEFAULT_CONCURRENCY_LIMIT, DEFAULT_TIMEOUT};
use crate::s3::S3Bucket;
use crate::{GenericRemoteStorage, RemotePath, S3Config};

/// A running server, ended with the test.
pub(crate) struct Moto {
    process: Child,
    pub endpoint: String,
}

/// Keys that the server accepts, as it accepts any.
pub(crate) fn credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "test"))
}

/// Opens a bucket with made-up credentials.
pub(crate) fn open(config: &S3Config, timeout: Duration) -> S3Bucket {
    S3Bucket::with_credentials(config, timeout, credentials())
}

impl Moto {
    /// Starts a server on a port that the system chooses.
    pub(crate) fn start() -> Moto {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/moto_server");
        let spawned = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = spawned.unwrap_or_else(|error| {
            panic!("cannot start {program}: {error}; `make setup` installs it")
        });
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut seen = String::new();
        let endpoint = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "moto_server ended:\n{seen}");
            if let Some((_, url)) = line.split_once("Running on ") {
                break url.trim().to_owned();
            }
            seen.push_str(&line);
        };
        // A full pipe would stop the server.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Moto { process, endpoint }
    }

    /// A configuration for a bucket of this server.
    pub(crate) fn config(&self, bucket: &str, prefix: Option<&str>) -> S3Config {
        S3Config {
            bucket_name: bucket.to_owned(),
            bucket_region: "us-east-1".to_owned(),
            prefix_in_bucket: prefix.map(str::to_owned),
            endpoint: Some(self.endpoint.clone()),
            concurrency_limit: DEFAULT_CONCURRENCY_LIMIT,
            max_keys_per_list_response: Some(2),
            upload_storage_class: None,
        }
    }

    /// Makes a bucket and opens it below a prefix.
    pub(crate) async fn bucket(&self, name: &str) -> GenericRemoteStorage {
        let store = open(&self.config(name, Some("/some/prefix/")), DEFAULT_TIMEOUT);
        store.client.create_bucket().bucket(name).send().await.unwrap();
        GenericRemoteStorage::new(Arc::new(store), DEFAULT_TIMEOUT)
    }

    /// Makes a bucket that keeps versions.
    pub(crate) async fn versioned_bucket(&self, name: &str) -> GenericRemoteStorage {
        let storage = self.bucket(name).await;
        let versioning = VersioningConfiguration::builder();
        let versioning = versioning.status(BucketVersioningStatus::Enabled).build();
        let client = open(&self.config(name, None), DEFAULT_TIMEOUT).client;
        let request = client.put_bucket_versioning().bucket(name);
        request.versioning_configuration(versioning).send().await.unwrap();
        storage
    }

    /// Writes an object through another configuration.
    pub(crate) async fn put_raw(&self, config: &S3Config, key: &str, content: &'static str) {
        let store =
            GenericRemoteStorage::new(Arc::new(open(config, DEFAULT_TIMEOUT)), DEFAULT_TIMEOUT);
        let path = RemotePath::new(key).unwrap();
        let cancel = CancellationToken::new();
        store.upload_bytes(Bytes::from(content), &path, &cancel).await.unwrap();
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It is gone already, or ends now; either way there is nothing to report.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
