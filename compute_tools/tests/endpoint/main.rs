//! Endpoints against stand-ins for the storage, with a stock PostgreSQL server where one is
//! needed.

mod primary;
mod read_only;
mod support;
mod sync;
