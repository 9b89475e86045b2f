//! The few plain HTTP requests that share the gRPC port.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

/// Answers a request that is not gRPC.
pub(crate) async fn respond<B>(request: &Request<B>) -> Response<Body> {
    let wanted = (request.method(), request.uri().path());
    if wanted == (&Method::GET, "/metrics") {
        metrics_response().await
    } else if wanted == (&Method::GET, "/status") {
        empty(StatusCode::OK)
    } else {
        empty(StatusCode::NOT_FOUND)
    }
}

async fn metrics_response() -> Response<Body> {
    let rendered = tokio::task::spawn_blocking(metrics::render).await;
    match rendered.map_err(|error| error.to_string()).and_then(|r| r.map_err(|e| e.to_string())) {
        Ok(text) => {
            let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
            let content_type = header::HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            response
        }
        Err(error) => {
            tracing::error!("could not answer /metrics: {error}");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
