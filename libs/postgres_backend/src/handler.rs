//! What a daemon supplies: the commands of its endpoint.

use pq_proto::StartupParameters;

use crate::backend::PostgresBackend;
use crate::error::QueryError;

/// The commands behind one connection. One handler serves one connection.
pub trait Handler: Send {
    /// Sees the startup parameters before authentication. An error ends the connection.
    fn startup(
        &mut self,
        pgb: &mut PostgresBackend,
        parameters: &StartupParameters,
    ) -> impl Future<Output = Result<(), QueryError>> + Send {
        let _ = (pgb, parameters);
        async { Ok(()) }
    }

    /// Checks the token that the client sent as its password (without the trailing NUL), when
    /// the endpoint asks for one. The default knows no tokens and refuses.
    fn check_auth(
        &mut self,
        pgb: &mut PostgresBackend,
        token: &[u8],
    ) -> impl Future<Output = Result<(), QueryError>> + Send {
        let _ = (pgb, token);
        async { Err(QueryError::Unauthorized("this endpoint cannot verify tokens".into())) }
    }

    /// Runs one command. Writes its results and their CommandComplete to `pgb`; the loop adds
    /// ReadyForQuery, or the error reply. A command that enters CopyBoth ends with
    /// [`PostgresBackend::handle_copy_stream_end`].
    fn process_query(
        &mut self,
        pgb: &mut PostgresBackend,
        query: &str,
    ) -> impl Future<Output = Result<(), QueryError>> + Send;
}
