//! Endpoints against stand-ins for the storage, with a stock PostgreSQL server where one is
//! needed.

mod primary;
mod support;
mod sync;
