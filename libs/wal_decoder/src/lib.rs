//! WAL bytes to records, and records to their parsed parts.
//!
//! [`stream`] reassembles records from the byte stream; [`record`] takes one record apart into
//! block references and main data. Neither interprets what a record means.

pub mod record;
