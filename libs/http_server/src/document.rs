//! What a handler reads from a request's body and answers with, taken from its type, so that a
//! document about it cannot disagree with what it does.
//!
//! A handler qualifies when its last argument implements [`RequestBody`] and its result implements
//! [`ResponseBody`].

use axum::Json;
use axum::extract::State;
use axum::handler::Handler;
use http::{StatusCode, Uri};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::extract::{JsonBody, NoBody, OptionalJsonBody, PathParams, QueryParams, RequestClaims};

/// A body of a request or a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// What kind of content it is.
    pub media_type: &'static str,
    /// Its schema; definitions that it refers to are with the generator.
    pub schema: Schema,
    /// Whether a request must have it.
    pub required: bool,
}

impl Body {
    /// JSON of a type.
    pub fn json<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Self {
        let mut schema = schemas.subschema_for::<T>();
        // What is not among the definitions is not in the dialect of the document yet.
        for transform in schemas.transforms_mut() {
            transform.transform(&mut schema);
        }
        Body { media_type: "application/json", schema, required: true }
    }
}

/// The bodies of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Bodies {
    /// What it reads; `None` if it does not look at the body.
    pub request: Option<Body>,
    /// The status of success, as OpenAPI writes it: such as `201`, or `2XX` if there are several.
    pub status: &'static str,
    /// What it answers when it succeeds; `None` if with an empty body.
    pub response: Option<Body>,
}

/// The last argument of a handler, the only one that may read the body.
pub trait RequestBody {
    /// What it reads.
    fn request_body(schemas: &mut SchemaGenerator) -> Option<Body>;
}

impl<T: JsonSchema> RequestBody for JsonBody<T> {
    fn request_body(schemas: &mut SchemaGenerator) -> Option<Body> {
        Some(Body::json::<T>(schemas))
    }
}

impl<T: JsonSchema> RequestBody for OptionalJsonBody<T> {
    fn request_body(schemas: &mut SchemaGenerator) -> Option<Body> {
        Some(Body { required: false, ..Body::json::<T>(schemas) })
    }
}

macro_rules! reads_no_body {
    ($($extractor:ty),+) => {$(
        impl RequestBody for $extractor {
            fn request_body(_: &mut SchemaGenerator) -> Option<Body> {
                None
            }
        }
    )+};
}

reads_no_body!(NoBody, PathParams, QueryParams, RequestClaims, Uri);

impl<S> RequestBody for State<S> {
    fn request_body(_: &mut SchemaGenerator) -> Option<Body> {
        None
    }
}

/// The result of a handler.
pub trait ResponseBody {
    /// The status of success.
    const STATUS: &'static str = "200";

    /// What it answers when it succeeds.
    fn response_body(schemas: &mut SchemaGenerator) -> Option<Body>;
}

impl<T: JsonSchema> ResponseBody for Json<T> {
    fn response_body(schemas: &mut SchemaGenerator) -> Option<Body> {
        Some(Body::json::<T>(schemas))
    }
}

/// A status that depends on the case.
impl<T: ResponseBody> ResponseBody for (StatusCode, T) {
    const STATUS: &'static str = "2XX";

    fn response_body(schemas: &mut SchemaGenerator) -> Option<Body> {
        T::response_body(schemas)
    }
}

impl ResponseBody for StatusCode {
    const STATUS: &'static str = "2XX";

    fn response_body(_: &mut SchemaGenerator) -> Option<Body> {
        None
    }
}

impl<T: ResponseBody, E> ResponseBody for Result<T, E> {
    const STATUS: &'static str = T::STATUS;

    fn response_body(schemas: &mut SchemaGenerator) -> Option<Body> {
        T::response_body(schemas)
    }
}

/// A handler that says what its bodies are.
pub trait DocumentedHandler<T, S>: Handler<T, S> {
    /// Its bodies.
    fn bodies(&self, schemas: &mut SchemaGenerator) -> Bodies;
}

macro_rules! document_handlers {
    ($( ($($argument:ident),*) )+) => {$(
        impl<F, Fut, Answer, M, S, $($argument,)* Last>
            DocumentedHandler<(M, $($argument,)* Last,), S> for F
        where
            F: FnOnce($($argument,)* Last) -> Fut + Handler<(M, $($argument,)* Last,), S>,
            Fut: Future<Output = Answer>,
            Last: RequestBody,
            Answer: ResponseBody,
        {
            fn bodies(&self, schemas: &mut SchemaGenerator) -> Bodies {
                Bodies {
                    request: Last::request_body(schemas),
                    status: Answer::STATUS,
                    response: Answer::response_body(schemas),
                }
            }
        }
    )+};
}

document_handlers! {
    ()
    (A1)
    (A1, A2)
    (A1, A2, A3)
    (A1, A2, A3, A4)
}
