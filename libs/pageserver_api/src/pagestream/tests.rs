use proptest::prelude::*;

use super::*;

const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main };

#[test]
fn a_page_request_has_the_documented_bytes() {
    let request = PagestreamRequest {
        request_lsn: Lsn::MAX,
        not_modified_since: Lsn(0x169_AD58),
        body: RequestBody::GetPage(REL, 7),
    };
    let expected = "02ffffffffffffffff000000000169ad580000067f00000005000040000000000007";
    assert_eq!(hex::encode(request.encode()), expected);
}

#[test]
fn version_1_says_latest_with_a_flag() {
    let mut message = vec![3, 1];
    message.extend(77u64.to_be_bytes());
    message.extend(5u32.to_be_bytes());
    let request = PagestreamRequest::parse(&message, ProtocolVersion::V1).unwrap();
    assert_eq!((request.request_lsn, request.not_modified_since), (Lsn::MAX, Lsn(77)));
    message[1] = 0;
    let request = PagestreamRequest::parse(&message, ProtocolVersion::V1).unwrap();
    assert_eq!((request.request_lsn, request.not_modified_since), (Lsn(77), Lsn(77)));
}

#[test]
fn an_unknown_tag_is_named() {
    let message = [&[99][..], &[0; 40]].concat();
    let error = PagestreamRequest::parse(&message, ProtocolVersion::V2).unwrap_err();
    assert_eq!(error.to_string(), "unknown smgr message tag: 99");
}

#[test]
fn responses_come_back_as_they_were() {
    for response in [
        PagestreamResponse::Exists(true),
        PagestreamResponse::Nblocks(17),
        PagestreamResponse::GetPage(Bytes::from(vec![3; BLCKSZ])),
        PagestreamResponse::Error("Bad request: x".to_owned()),
        PagestreamResponse::DbSize(8192 << 30),
        PagestreamResponse::GetSlruSegment(Bytes::from(vec![1; 2 * BLCKSZ])),
    ] {
        assert_eq!(PagestreamResponse::parse(&response.encode()), Ok(response));
    }
}

fn body() -> impl Strategy<Value = RequestBody> {
    let rel = (any::<u32>(), any::<u32>(), any::<u32>(), 0usize..4).prop_map(|(s, d, r, fork)| {
        RelTag { spcnode: s, dbnode: d, relnode: r, fork: ForkNumber::ALL[fork] }
    });
    prop_oneof![
        rel.clone().prop_map(RequestBody::Exists),
        rel.clone().prop_map(RequestBody::Nblocks),
        (rel, any::<u32>()).prop_map(|(rel, block)| RequestBody::GetPage(rel, block)),
        any::<u32>().prop_map(RequestBody::DbSize),
        (any::<u8>(), any::<u32>())
            .prop_map(|(kind, segment)| RequestBody::GetSlruSegment { kind, segment }),
    ]
}

proptest! {
    #[test]
    fn requests_come_back_as_they_were(a in any::<u64>(), b in any::<u64>(), body in body()) {
        let request =
            PagestreamRequest { request_lsn: Lsn(a), not_modified_since: Lsn(b), body };
        let parsed = PagestreamRequest::parse(&request.encode(), ProtocolVersion::V2);
        prop_assert_eq!(parsed, Ok(request));
    }

    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = PagestreamRequest::parse(&bytes, ProtocolVersion::V1);
        let _ = PagestreamRequest::parse(&bytes, ProtocolVersion::V2);
        let _ = PagestreamResponse::parse(&bytes);
    }
}
