use super::*;

fn wanted(address: SocketAddr) -> WantedPort {
    WantedPort {
        address,
        purpose: "the WAL service of safekeeper 7".to_owned(),
        remedy: "set pg_port in /repo/config".to_owned(),
    }
}

#[test]
fn a_taken_port_is_reported_with_its_purpose_and_the_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let text = check(wanted(address)).unwrap_err().to_string();
    let expected = [
        &format!("port {}", address.port()),
        "the WAL service of safekeeper 7",
        "set pg_port in /repo/config",
    ];
    for part in expected {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_free_port_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(check(wanted(address)), Ok(()));
}
