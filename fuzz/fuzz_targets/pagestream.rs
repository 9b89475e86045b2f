//! Page requests and answers: no panic, and what was read is written back alike.
#![no_main]

use fuzz::split_major;
use libfuzzer_sys::fuzz_target;
use pageserver_api::pagestream::{PagestreamRequest, PagestreamResponse, ProtocolVersion};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = PagestreamRequest::parse(data, ProtocolVersion::V2) {
        let encoded = request.encode();
        assert_eq!(PagestreamRequest::parse(&encoded, ProtocolVersion::V2), Ok(request));
    }
    let _ = PagestreamRequest::parse(data, ProtocolVersion::V1);
    if let Some((_, rest)) = split_major(data)
        && let Ok(response) = PagestreamResponse::parse(rest)
    {
        assert_eq!(PagestreamResponse::parse(&response.encode()), Ok(response));
    }
});
