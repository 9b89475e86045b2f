//! Handshakes in memory, with certificates made on the spot.

use camino::{Utf8Path, Utf8PathBuf};

use super::authority::Authority;
use super::*;

/// A directory with an authority's certificate, and a listener's certificate and key by it.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Files { dir: tempfile::tempdir().unwrap() };
        files.issue(&["localhost"]);
        files
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().join(name)
    }

    /// Makes a new authority, and a certificate for `names` by it.
    fn issue(&self, names: &[&str]) {
        Authority::new("test authority").unwrap().issue(&self.path(""), names).unwrap();
    }

    fn server(&self) -> ServerTls {
        ServerTls::load(&self.path("server.crt"), &self.path("server.key"), &[]).unwrap()
    }

    fn client(&self, mode: SslMode) -> ClientTls {
        ClientTls { mode, root_cert: Some(self.path("ca.crt")) }
    }
}

/// Whether the two agree on a session.
async fn shake_hands(server: &ServerTls, client: &ClientTls, host: &str) -> Result<(), String> {
    let (near, far) = tokio::io::duplex(16384);
    let name = ClientTls::server_name(host).unwrap();
    let connector = client.connector().map_err(|error| error.to_string())?;
    let (accepted, connected) =
        tokio::join!(server.acceptor().accept(far), connector.connect(name, near));
    connected.map_err(|error| error.to_string())?;
    accepted.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_certificate_by_a_trusted_authority_for_the_host_is_accepted() {
    let files = Files::new();
    let client = files.client(SslMode::VerifyFull);
    assert_eq!(shake_hands(&files.server(), &client, "localhost").await, Ok(()));
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_only_when_names_count() {
    let files = Files::new();
    let server = files.server();
    let full = files.client(SslMode::VerifyFull);
    assert!(shake_hands(&server, &full, "127.0.0.1").await.is_err());
    let chain = files.client(SslMode::VerifyCa);
    assert_eq!(shake_hands(&server, &chain, "127.0.0.1").await, Ok(()));
}

#[tokio::test]
async fn a_certificate_by_a_stranger_is_refused_unless_nobody_is_trusted() {
    let (files, strangers) = (Files::new(), Files::new());
    let server = strangers.server();
    for mode in [SslMode::VerifyFull, SslMode::VerifyCa, SslMode::Require] {
        let refused = shake_hands(&server, &files.client(mode), "localhost").await;
        assert!(refused.is_err(), "{mode}");
    }
    let trusting = ClientTls { mode: SslMode::Require, root_cert: None };
    assert_eq!(shake_hands(&server, &trusting, "localhost").await, Ok(()));
}

#[tokio::test]
async fn a_replaced_certificate_is_served_after_a_reload_and_a_broken_one_is_not() {
    let files = Files::new();
    let server = files.server();
    assert!(!server.reload().unwrap(), "nothing has changed");
    files.issue(&["localhost"]);
    let client = files.client(SslMode::VerifyFull);
    assert!(shake_hands(&server, &client, "localhost").await.is_err(), "still the old one");
    assert!(server.reload().unwrap());
    assert_eq!(shake_hands(&server, &client, "localhost").await, Ok(()));
    std::fs::write(files.path("server.crt"), "nonsense").unwrap();
    let error = server.reload().unwrap_err().to_string();
    assert!(error.contains("server.crt"), "{error}");
    assert_eq!(shake_hands(&server, &client, "localhost").await, Ok(()));
}

#[test]
fn verifying_without_trusting_anybody_is_refused() {
    let client = ClientTls { mode: SslMode::VerifyFull, root_cert: None };
    let error = client.config().unwrap_err().to_string();
    assert!(error.contains("verify-full") && error.contains("sslrootcert"), "{error}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (files, others) = (Files::new(), Files::new());
    let mixed = ServerTls::load(&files.path("server.crt"), &others.path("server.key"), &[]);
    assert!(mixed.unwrap_err().to_string().contains("server.crt"));
}

#[test]
fn only_the_owner_may_read_a_key() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new();
    let mode = |name| std::fs::metadata(files.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("server.key"), mode("server.crt")], [0o600, 0o644]);
}

#[test]
fn modes_have_the_names_of_libpq() {
    for name in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
        assert_eq!(name.parse::<SslMode>().unwrap().name(), name);
    }
    assert!("allow".parse::<SslMode>().is_err());
}
