use super::*;

#[tokio::test]
async fn set_is_accepted_whatever_it_sets() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    client.simple_query("SET datestyle TO iso").await.unwrap();
}

#[tokio::test]
async fn show_reports_the_effective_settings() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    let rows = client.simple_query(&format!("show {}", service.tenant)).await.unwrap();
    assert_eq!(rows[0].by_name("gc_horizon"), Some("64"));
    assert_eq!(rows[0].len(), 9);
}

#[tokio::test]
async fn the_last_record_is_reported_with_its_predecessor() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    let command = service.command("get_last_record_rlsn", "");
    let rows = client.simple_query(&command).await.unwrap();
    assert_eq!(rows[0].by_name("last_lsn"), Some("0/200"));
    assert_eq!(rows[0].by_name("prev_lsn"), Some("0/100"));
}

#[tokio::test]
async fn a_position_that_is_not_reached_is_answered_with_how_far_the_timeline_is() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    let command = service.command("get_last_record_rlsn", "0/201");
    let rows = client.simple_query(&command).await.unwrap();
    assert_eq!(rows[0].by_name("last_lsn"), Some("0/200"));
}

#[tokio::test]
async fn a_lease_answers_with_sixteen_raw_bytes() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    let rows = client.simple_query(&service.command("lease lsn", "0/100")).await.unwrap();
    assert_eq!(rows[0].bytes(0), Some(600_000u128.to_be_bytes().as_slice()));
}

#[tokio::test]
async fn a_lease_below_the_cutoff_is_refused() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    let error = client.simple_query(&service.command("lease lsn", "0/10")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("tried to request a page version that was garbage collected"), "{text}");
    client.simple_query("set x").await.unwrap();
}

#[tokio::test]
async fn an_unknown_tenant_is_only_said_to_be_not_found() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    let other = "33333333333333333333333333333333";
    let command = format!("get_last_record_rlsn {other} {}", service.timeline_id);
    let error = client.simple_query(&command).await.unwrap_err();
    assert_eq!(error.server_report().unwrap().message, "not found");
    client.simple_query("set x").await.unwrap();
}

#[tokio::test]
async fn an_archive_arrives_as_copy_data() {
    let service = Service::start().await;
    let command =
        format!("import basebackup {} {} 0/7 0/9 15", service.tenant, service.timeline_id);
    let mut stream = service.connect().await.copy_in(&command).await.unwrap();
    stream.send(b"abc").await.unwrap();
    stream.send(b"defg").await.unwrap();
    stream.finish().await.unwrap();
}

#[tokio::test]
async fn a_refused_archive_is_answered_with_the_reason() {
    let service = Service::start().await;
    let command =
        format!("import basebackup {} {} 0/7 0/9 15", service.tenant, service.timeline_id);
    let mut stream = service.connect().await.copy_in(&command).await.unwrap();
    stream.send(b"abc").await.unwrap();
    let error = stream.finish().await.unwrap_err().to_string();
    assert!(error.contains("error importing base backup between 0/7 and 0/9"), "{error}");
    assert!(error.contains("received 3 bytes"), "{error}");
}

#[tokio::test]
async fn what_is_sent_after_an_import_gave_up_is_dropped() {
    let service = Service::start().await;
    let command = format!("import wal {} {} 0/7 0/9", service.tenant, service.timeline_id);
    let mut stream = service.connect().await.copy_in(&command).await.unwrap();
    for _ in 0..100 {
        stream.send(&[0; 10_000]).await.unwrap();
    }
    let error = stream.finish().await.unwrap_err().to_string();
    assert!(error.contains("error importing WAL") && error.contains("no WAL wanted"), "{error}");
}

#[tokio::test]
async fn an_unknown_command_is_told() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    let error = client.simple_query("do_gc now").await.unwrap_err();
    assert!(error.to_string().contains("unknown command do_gc now"), "{error}");
}

#[tokio::test]
async fn a_backup_below_the_cutoff_is_refused() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    let error = client.simple_query(&service.command("basebackup", "0/10")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("invalid basebackup lsn: LSN 0/10 is earlier than"), "{text}");
}

#[tokio::test]
async fn a_contradictory_previous_lsn_is_refused() {
    let service = Service::start().await;
    let mut client = service.connect().await;
    let command = service.command("fullbackup", "0/200 0/180");
    let error = client.simple_query(&command).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("backup_prev 0/100 != provided_prev_lsn 0/180"), "{text}");
}
