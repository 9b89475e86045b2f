//! Extractors whose refusals have the texts that clients expect.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use bytes::Bytes;
use http::request::Parts;
use serde::de::DeserializeOwned;
use utils::auth::Claims;

use crate::ApiError;

/// A JSON body that must be there. The `Content-Type` header is ignored.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let OptionalJsonBody(body) = OptionalJsonBody::from_request(request, state).await?;
        body.map(JsonBody).ok_or_else(|| ApiError::bad_request("missing request body"))
    }
}

/// A JSON body, or none.
#[derive(Debug)]
pub struct OptionalJsonBody<T>(pub Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = read_body(request, state).await?;
        if bytes.is_empty() {
            return Ok(OptionalJsonBody(None));
        }
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            ApiError::BadRequest(anyhow::Error::new(error).context("Failed to parse json request"))
        })?;
        json.end().map_err(|error| {
            ApiError::BadRequest(anyhow::Error::new(error).context("Failed to parse json request"))
        })?;
        Ok(OptionalJsonBody(Some(value)))
    }
}

/// Refuses a request that has a body.
#[derive(Debug)]
pub struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match read_body(request, state).await?.is_empty() {
            true => Ok(NoBody),
            false => Err(ApiError::bad_request("Unexpected request body")),
        }
    }
}

async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state)
        .await
        .map_err(|error| ApiError::bad_request(format!("Failed to read request body: {error}")))
}

/// The query parameters, each of which may be given once.
#[derive(Debug, Default)]
pub struct QueryParams {
    values: HashMap<String, Vec<String>>,
}

impl QueryParams {
    /// The parameter's text, if it is given.
    pub fn get(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.values.get(name).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(ApiError::bad_request(format!("param {name} specified more than once"))),
        }
    }

    /// The parameter's value, if it is given.
    pub fn parse<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let parse = |text: &str| {
            text.parse().map_err(|error| {
                ApiError::bad_request(format!("cannot parse query param {name}: {error}"))
            })
        };
        self.get(name)?.map(parse).transpose()
    }

    /// The value of a parameter that must be given.
    pub fn must_parse<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, ApiError> {
        self.parse(name)?.ok_or_else(|| {
            ApiError::bad_request(format!("no {name} specified in query parameters"))
        })
    }

    /// The names of all given parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for QueryParams {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::from_request_parts(parts, state)
                .await
                .map_err(|error| ApiError::bad_request(format!("cannot parse query: {error}")))?;
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in pairs {
            values.entry(name).or_default().push(value);
        }
        Ok(QueryParams { values })
    }
}

/// The variable parts of the path.
#[derive(Debug, Default)]
pub struct PathParams {
    values: HashMap<String, String>,
}

impl PathParams {
    /// The part's text.
    pub fn get(&self, name: &str) -> Result<&str, ApiError> {
        self.values
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| ApiError::bad_request(format!("no {name} specified in path param")))
    }

    /// The part's value.
    pub fn parse<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, ApiError> {
        self.get(name)?
            .parse()
            .map_err(|error| ApiError::bad_request(format!("failed to parse {name}: {error}")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathParams {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::bad_request(format!("cannot parse path: {error}")))?;
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Ok(PathParams { values: params.iter().map(own).collect() })
    }
}

/// The claims of the request's token; `None` when the server does not check tokens.
#[derive(Debug, Clone, Copy)]
pub struct RequestClaims(pub Option<Claims>);

impl<S: Sync> FromRequestParts<S> for RequestClaims {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(RequestClaims(parts.extensions.get().copied()))
    }
}
