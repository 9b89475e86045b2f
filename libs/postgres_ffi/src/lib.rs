//! PostgreSQL's on-disk and WAL types for every supported major version.
//!
//! Layouts and constants only: no I/O beyond slices, no async, no state. Version differences
//! are small switches on [`PgMajor`]. Parsers of foreign bytes never panic.

pub mod checkpoint;
pub mod control_file;
pub mod page;
pub mod pg_constants;
pub mod reader;
pub mod relfile;
pub mod relmap;
pub mod slru;
pub mod tablespace;
pub mod version;
pub mod xlog;

pub use checkpoint::CheckPoint;
pub use control_file::ControlFile;
pub use reader::{LeReader, TooShort};
pub use relfile::{BlockNumber, ForkNumber, Oid, RelTag, SlruKind};
pub use version::PgMajor;

/// Size of a data page in bytes.
pub const BLCKSZ: usize = 8192;
/// Size of the WAL segments that every supported cluster uses, in bytes.
pub const WAL_SEGMENT_SIZE: usize = 16 * 1024 * 1024;
/// Blocks per relation segment file (1 GiB).
pub const RELSEG_SIZE: u32 = 131_072;
/// Tablespace of ordinary relations (`pg_default`).
pub const DEFAULTTABLESPACE_OID: Oid = 1663;
/// Tablespace of shared relations (`pg_global`).
pub const GLOBALTABLESPACE_OID: Oid = 1664;
