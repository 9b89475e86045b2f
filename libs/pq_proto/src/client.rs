//! Messages a client sends, as it writes them.

use bytes::{BufMut, BytesMut};

use crate::error::ProtocolError;
use crate::framing::{put_cstr, put_message};

/// Appends a simple Query.
pub fn write_query(buffer: &mut BytesMut, sql: &str) -> Result<(), ProtocolError> {
    put_message(buffer, b'Q', |b| put_cstr(b, sql.as_bytes(), "Query"))
}

/// Appends a PasswordMessage with a clear-text or hashed password.
pub fn write_password(buffer: &mut BytesMut, password: &[u8]) -> Result<(), ProtocolError> {
    put_message(buffer, b'p', |b| put_cstr(b, password, "PasswordMessage"))
}

/// Appends the first message of a SASL exchange.
pub fn write_sasl_initial_response(
    buffer: &mut BytesMut,
    mechanism: &str,
    response: &[u8],
) -> Result<(), ProtocolError> {
    put_message(buffer, b'p', |b| {
        put_cstr(b, mechanism.as_bytes(), "SASLInitialResponse")?;
        let length = i32::try_from(response.len()).map_err(|_| ProtocolError::Unencodable {
            message: "SASLInitialResponse",
            reason: "it is longer than 2 GiB",
        })?;
        b.put_i32(length);
        b.put_slice(response);
        Ok(())
    })
}

/// Appends a later message of a SASL exchange.
pub fn write_sasl_response(buffer: &mut BytesMut, response: &[u8]) -> Result<(), ProtocolError> {
    put_message(buffer, b'p', |b| {
        b.put_slice(response);
        Ok(())
    })
}

/// Appends CopyData whose payload is the concatenation of `parts`.
pub fn write_copy_data(buffer: &mut BytesMut, parts: &[&[u8]]) -> Result<(), ProtocolError> {
    put_message(buffer, b'd', |b| {
        parts.iter().for_each(|part| b.put_slice(part));
        Ok(())
    })
}

/// Appends CopyDone.
pub fn write_copy_done(buffer: &mut BytesMut) -> Result<(), ProtocolError> {
    put_message(buffer, b'c', |_| Ok(()))
}

/// Appends CopyFail with a reason.
pub fn write_copy_fail(buffer: &mut BytesMut, reason: &str) -> Result<(), ProtocolError> {
    put_message(buffer, b'f', |b| put_cstr(b, reason.as_bytes(), "CopyFail"))
}

/// Appends Terminate.
pub fn write_terminate(buffer: &mut BytesMut) -> Result<(), ProtocolError> {
    put_message(buffer, b'X', |_| Ok(()))
}
