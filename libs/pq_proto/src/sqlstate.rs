//! The SQLSTATE codes that appear in error replies.

/// `successful_completion`: the server ended a COPY stream on purpose.
pub const SUCCESSFUL_COMPLETION: &str = "00000";
/// `connection_failure`: the conversation itself went wrong.
pub const CONNECTION_FAILURE: &str = "08006";
/// `admin_shutdown`: the daemon or the tenant is shutting down.
pub const ADMIN_SHUTDOWN: &str = "57P01";
/// `cannot_connect_now`: the server is still starting up.
pub const CANNOT_CONNECT_NOW: &str = "57P03";
/// `internal_error`: everything without a better code.
pub const INTERNAL_ERROR: &str = "XX000";
