//! The client against a stock PostgreSQL server. Set `PG_BINDIR` to choose one; without any
//! installed server the tests say so and do nothing.

mod server;

use std::time::Duration;

use postgres_client::{ConnectOptions, Error};
use pq_proto::{StandbyReply, WalSenderMessage};
use server::TestServer;
use utils::Lsn;

fn replication(options: ConnectOptions) -> ConnectOptions {
    ConnectOptions { replication: true, application_name: Some("test".into()), ..options }
}

#[tokio::test]
async fn trusted_and_password_sessions_run_queries() {
    let Some(server) = TestServer::start() else { return };
    let mut client = server.trusted().connect().await.unwrap();
    let rows = client.simple_query("select 1 as one, null, 'text' as t; select 2").await.unwrap();
    assert_eq!(rows[0].by_name("one"), Some("1"));
    assert_eq!((rows[0].get(1), rows[0].get(2)), (None, Some("text")));
    assert_eq!(rows[1].get(0), Some("2"));

    for method in ["scram-sha-256", "md5"] {
        client
            .simple_query(&format!(
                "set password_encryption = '{method}'; drop role if exists locked; \
                 create role locked login password 'pass word'"
            ))
            .await
            .unwrap();
        let locked = ConnectOptions { user: "locked".into(), ..server.password_only() };
        let right = ConnectOptions { password: Some("pass word".into()), ..locked.clone() };
        let mut session = right.connect().await.unwrap();
        assert_eq!(session.simple_query("select 3").await.unwrap()[0].get(0), Some("3"));

        let wrong = ConnectOptions { password: Some("wrong".into()), ..locked.clone() };
        assert_eq!(wrong.connect().await.unwrap_err().sqlstate(), Some("28P01"));
        assert!(matches!(locked.connect().await.unwrap_err(), Error::Authentication(_)));
    }
}

#[tokio::test]
async fn errors_keep_their_sqlstate_and_the_session() {
    let Some(server) = TestServer::start() else { return };
    let mut client = server.trusted().connect().await.unwrap();
    let error = client.simple_query("select 1/0").await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("22012"));
    assert_eq!(client.simple_query("select 1").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_copy_out_stream_is_read_to_its_end() {
    use tokio::io::AsyncReadExt;
    let Some(server) = TestServer::start() else { return };
    let client = server.trusted().connect().await.unwrap();
    let sql = "copy (select generate_series(1, 100000)) to stdout";
    let mut text = String::new();
    client.copy_out(sql).await.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text.lines().count(), 100_000);
}

#[tokio::test]
async fn a_physical_replication_stream_delivers_wal_until_shutdown() {
    let Some(mut server) = TestServer::start() else { return };
    let mut session = replication(server.trusted()).connect().await.unwrap();
    let identity = session.simple_query("IDENTIFY_SYSTEM").await.unwrap();
    assert_eq!(identity[0].by_name("timeline"), Some("1"));
    let start: Lsn = identity[0].by_name("xlogpos").unwrap().parse().unwrap();
    let command = format!("START_REPLICATION PHYSICAL {start} TIMELINE 1");
    let (mut receiver, mut sender) = session.copy_both(&command).await.unwrap().split();

    let mut client = server.trusted().connect().await.unwrap();
    client.simple_query("create table t as select generate_series(1, 10000)").await.unwrap();
    let shutdown = server.begin_fast_shutdown();

    let mut position = start;
    while let Some(payload) = tokio::time::timeout(Duration::from_secs(30), receiver.recv())
        .await
        .expect("the server answers")
        .unwrap()
    {
        if let WalSenderMessage::XLogData(wal) = WalSenderMessage::parse(payload).unwrap() {
            assert_eq!(wal.start_lsn, position);
            position = wal.end_lsn();
        }
        let mut reply = bytes::BytesMut::new();
        StandbyReply {
            write_lsn: position,
            flush_lsn: position,
            apply_lsn: position,
            ..Default::default()
        }
        .write(&mut reply);
        if sender.send(&reply).await.is_err() {
            // The server had what it waited for, and left before it read this.
            break;
        }
    }
    assert!(position > start + 100_000, "{start} to {position}");
    shutdown.join().unwrap();
}

#[tokio::test]
async fn a_refused_connection_names_the_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = ConnectOptions::new("127.0.0.1", port).connect().await.unwrap_err();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(error.is_transient());
}
