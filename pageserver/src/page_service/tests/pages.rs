use pageserver_api::pagestream::{PagestreamRequest, PagestreamResponse, RequestBody};
use postgres_client::CopyBoth;

use super::*;

impl Service {
    async fn pagestream(&self) -> CopyBoth {
        let command = self.command("pagestream_v2", "");
        self.connect().await.copy_both(command.trim_end()).await.unwrap()
    }
}

async fn ask(
    stream: &mut CopyBoth,
    request_lsn: Lsn,
    not_modified_since: Lsn,
    body: RequestBody,
) -> PagestreamResponse {
    let request = PagestreamRequest { request_lsn, not_modified_since, body };
    stream.send(&request.encode()).await.unwrap();
    PagestreamResponse::parse(&stream.recv().await.unwrap().unwrap()).unwrap()
}

async fn newest(stream: &mut CopyBoth, body: RequestBody) -> PagestreamResponse {
    ask(stream, Lsn::MAX, Lsn(0x100), body).await
}

#[tokio::test]
async fn pages_and_sizes_are_served_in_order() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    let page = newest(&mut stream, RequestBody::GetPage(REL, 1)).await;
    assert_eq!(page, PagestreamResponse::GetPage(Bytes::from(vec![2; BLCKSZ])));
    let size = newest(&mut stream, RequestBody::Nblocks(REL)).await;
    assert_eq!(size, PagestreamResponse::Nblocks(2));
    let exists = newest(&mut stream, RequestBody::Exists(REL)).await;
    assert_eq!(exists, PagestreamResponse::Exists(true));
    let bytes = newest(&mut stream, RequestBody::DbSize(5)).await;
    assert_eq!(bytes, PagestreamResponse::DbSize(2 * 8192));
}

#[tokio::test]
async fn a_page_beyond_the_end_is_zeroes() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    let page = newest(&mut stream, RequestBody::GetPage(REL, 2)).await;
    assert_eq!(page, PagestreamResponse::GetPage(Bytes::from(vec![0; BLCKSZ])));
}

#[tokio::test]
async fn slru_kinds_that_the_protocol_does_not_know_are_refused() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    for kind in [3, 4] {
        let answer = newest(&mut stream, RequestBody::GetSlruSegment { kind, segment: 0 }).await;
        let expected = "Bad request: invalid SLRU kind".to_owned();
        assert_eq!(answer, PagestreamResponse::Error(expected), "kind {kind}");
    }
}

#[tokio::test]
async fn a_version_that_was_garbage_collected_is_refused_and_the_session_goes_on() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    let old = Lsn(0x40);
    let answer = ask(&mut stream, old, old, RequestBody::GetPage(REL, 0)).await;
    let expected = "Bad request: tried to request a page version that was garbage collected. \
                    requested at 0/40 gc cutoff 0/80";
    assert_eq!(answer, PagestreamResponse::Error(expected.to_owned()));
    let size = newest(&mut stream, RequestBody::Nblocks(REL)).await;
    assert_eq!(size, PagestreamResponse::Nblocks(2));
}

#[tokio::test]
async fn an_unchanged_page_below_the_cutoff_is_served() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    let page = ask(&mut stream, Lsn::MAX, Lsn(0x10), RequestBody::GetPage(REL, 0)).await;
    assert_eq!(page, PagestreamResponse::GetPage(Bytes::from(vec![1; BLCKSZ])));
}

#[tokio::test]
async fn wal_that_does_not_arrive_is_told() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    let answer = ask(&mut stream, Lsn::MAX, Lsn(0x900), RequestBody::GetPage(REL, 0)).await;
    let PagestreamResponse::Error(text) = answer else { panic!("{answer:?}") };
    assert_eq!(text, "LSN timeout: Timed out while waiting for WAL record at LSN 0/900");
}

#[tokio::test]
async fn contradictory_lsns_are_refused() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    let answer = ask(&mut stream, Lsn(0x100), Lsn(0x180), RequestBody::Nblocks(REL)).await;
    let PagestreamResponse::Error(text) = answer else { panic!("{answer:?}") };
    assert!(text.starts_with("Bad request: invalid request with request LSN 0/100"), "{text}");
}

#[tokio::test]
async fn a_missing_relation_is_a_read_error() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    let other = RelTag { relnode: 99, ..REL };
    let answer = newest(&mut stream, RequestBody::Nblocks(other)).await;
    assert_eq!(answer, PagestreamResponse::Error("Read error".to_owned()));
}

#[tokio::test]
async fn a_stopping_timeline_ends_the_session_without_an_answer() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    service.timeline.cancel.cancel();
    assert!(!matches!(stream.recv().await, Ok(Some(_))));
    service.timeline.gate.close().await;
}

#[tokio::test]
async fn shutdown_ends_every_session() {
    let service = Service::start().await;
    let mut stream = service.pagestream().await;
    service.cancel.cancel();
    service.task.await.unwrap().unwrap();
    assert!(!matches!(stream.recv().await, Ok(Some(_))));
}
