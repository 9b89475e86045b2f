//! Turning errors into what a client is told.
//!
//! Our errors name their causes in their own text, while replies print whole error chains; only
//! the text is passed on, so that nothing is said twice.

use std::fmt::Display;

use postgres_backend::{CopyStreamEnd, QueryError};

/// A command that fails with this error.
pub fn query_error(error: impl Display) -> QueryError {
    QueryError::Other(anyhow::Error::msg(error.to_string()))
}

/// A stream that ends with this error.
pub fn stream_error(error: impl Display) -> CopyStreamEnd {
    CopyStreamEnd::Other(anyhow::Error::msg(error.to_string()))
}
