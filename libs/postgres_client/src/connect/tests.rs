use super::*;

#[test]
fn a_bare_address_has_host_and_port() {
    let options = ConnectOptions::parse("127.0.0.1:6400").unwrap();
    assert_eq!((options.host.as_str(), options.port), ("127.0.0.1", 6400));
}

#[test]
fn a_url_has_user_password_and_database() {
    let options = ConnectOptions::parse("postgresql://alice:pa@ss@db.example:7/prod?x=1").unwrap();
    assert_eq!(options.user, "alice");
    assert_eq!(options.password.as_deref(), Some("pa@ss"));
    assert_eq!(options.address(), "db.example:7");
    assert_eq!(options.dbname, "prod");
}

#[test]
fn a_url_says_how_to_encrypt() {
    let text = "postgresql://sk-1.example:7?sslmode=verify-full&sslrootcert=/etc/ca.crt&x=1";
    let options = ConnectOptions::parse(text).unwrap();
    assert_eq!(options.address(), "sk-1.example:7");
    assert_eq!(options.tls.mode, SslMode::VerifyFull);
    assert_eq!(options.tls.root_cert.as_deref(), Some("/etc/ca.crt".into()));
    let error = ConnectOptions::parse("postgresql://h/d?sslmode=allow").unwrap_err();
    assert!(error.to_string().contains("verify-ca"), "{error}");
}

#[test]
fn a_missing_port_is_5432() {
    assert_eq!(ConnectOptions::parse("postgres://no_user@host").unwrap().port, 5432);
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    let options = ConnectOptions::parse("[::1]:99").unwrap();
    assert_eq!((options.host.as_str(), options.port), ("::1", 99));
    assert_eq!(options.address(), "[::1]:99");
}

#[test]
fn a_bad_port_is_named_and_the_password_is_not() {
    let error = ConnectOptions::parse("postgresql://u:secret@h:x/d").unwrap_err().to_string();
    assert!(error.contains("port") && !error.contains("secret"), "{error}");
}

#[test]
fn other_schemes_are_refused() {
    assert!(ConnectOptions::parse("http://host:1/").is_err());
}

#[test]
fn the_debug_form_hides_the_password() {
    let options = ConnectOptions { password: Some("secret".into()), ..Default::default() };
    assert!(!format!("{options:?}").contains("secret"));
}
