//! Stand-ins for the storage, in process: a page service with one backup, and safekeepers that
//! keep everything in memory behind the real protocol.

pub mod endpoint;
pub mod page_service;
pub mod safekeepers;
