//! Messages a server sends, as it writes them.

use bytes::{BufMut, BytesMut};

use crate::error::ProtocolError;
use crate::framing::{put_cstr, put_message};
use crate::sqlstate;

/// OID of type `text`.
pub const TEXT_OID: u32 = 25;
/// OID of type `int8`.
pub const INT8_OID: u32 = 20;
/// OID of type `int4`.
pub const INT4_OID: u32 = 23;

/// One column of a RowDescription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowDescriptor<'a> {
    /// Column name.
    pub name: &'a str,
    /// Type OID.
    pub type_oid: u32,
    /// Type length in bytes, -1 for variable.
    pub type_length: i16,
}

impl<'a> RowDescriptor<'a> {
    /// A `text` column.
    pub const fn text(name: &'a str) -> Self {
        Self { name, type_oid: TEXT_OID, type_length: -1 }
    }

    /// An `int8` column; values still travel as text.
    pub const fn int8(name: &'a str) -> Self {
        Self { name, type_oid: INT8_OID, type_length: 8 }
    }

    /// An `int4` column; values still travel as text.
    pub const fn int4(name: &'a str) -> Self {
        Self { name, type_oid: INT4_OID, type_length: 4 }
    }
}

/// A message to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeMessage<'a> {
    /// The client is who it says.
    AuthenticationOk,
    /// The client must send its password in clear text.
    AuthenticationCleartextPassword,
    /// What a client needs to ask for cancellation.
    BackendKeyData {
        /// Process id.
        backend_pid: i32,
        /// Secret.
        cancel_key: i32,
    },
    /// Answer to Parse.
    ParseComplete,
    /// Answer to Bind.
    BindComplete,
    /// Answer to Close.
    CloseComplete,
    /// A command ended well; its tag.
    CommandComplete(&'a str),
    /// Raw payload of a COPY stream.
    CopyData(&'a [u8]),
    /// The server's COPY stream ended well.
    CopyDone,
    /// The server's COPY stream failed.
    CopyFail,
    /// The client should send a COPY stream.
    CopyInResponse,
    /// A COPY stream follows.
    CopyOutResponse,
    /// Both sides send a COPY stream.
    CopyBothResponse,
    /// One row; `None` is NULL.
    DataRow(&'a [Option<&'a [u8]>]),
    /// Columns of the rows that follow.
    RowDescription(&'a [RowDescriptor<'a>]),
    /// A command failed.
    ErrorResponse {
        /// Five characters.
        sqlstate: &'a str,
        /// For the user.
        message: &'a str,
    },
    /// A remark for the user.
    NoticeResponse(&'a str),
    /// One byte instead of a message: whether encryption (TLS or GSSAPI) may begin.
    EncryptionResponse(bool),
    /// The statement returns no rows.
    NoData,
    /// The statement has no parameters.
    ParameterDescription,
    /// A session parameter's value.
    ParameterStatus {
        /// Name.
        name: &'a str,
        /// Value.
        value: &'a str,
    },
    /// The server waits for the next command, outside any transaction.
    ReadyForQuery,
}

impl<'a> BeMessage<'a> {
    /// An ErrorResponse without a specific SQLSTATE.
    pub const fn internal_error(message: &'a str) -> Self {
        Self::ErrorResponse { sqlstate: sqlstate::INTERNAL_ERROR, message }
    }

    /// Appends the message to `buffer`. On error the buffer is left as it was.
    pub fn write(&self, buffer: &mut BytesMut) -> Result<(), ProtocolError> {
        let empty = |_: &mut BytesMut| Ok(());
        match *self {
            Self::AuthenticationOk => put_message(buffer, b'R', |b| put_i32(b, 0)),
            Self::AuthenticationCleartextPassword => put_message(buffer, b'R', |b| put_i32(b, 3)),
            Self::BackendKeyData { backend_pid, cancel_key } => put_message(buffer, b'K', |b| {
                put_i32(b, backend_pid)?;
                put_i32(b, cancel_key)
            }),
            Self::ParseComplete => put_message(buffer, b'1', empty),
            Self::BindComplete => put_message(buffer, b'2', empty),
            Self::CloseComplete => put_message(buffer, b'3', empty),
            Self::CommandComplete(tag) => {
                put_message(buffer, b'C', |b| put_cstr(b, tag.as_bytes(), "CommandComplete"))
            }
            Self::CopyData(payload) => put_message(buffer, b'd', |b| {
                b.put_slice(payload);
                Ok(())
            }),
            Self::CopyDone => put_message(buffer, b'c', empty),
            Self::CopyFail => put_message(buffer, b'f', empty),
            Self::CopyInResponse => put_message(buffer, b'G', |b| put_copy_response(b, 1)),
            Self::CopyOutResponse => put_message(buffer, b'H', |b| put_copy_response(b, 0)),
            Self::CopyBothResponse => put_message(buffer, b'W', |b| put_copy_response(b, 0)),
            Self::DataRow(columns) => put_message(buffer, b'D', |b| put_data_row(b, columns)),
            Self::RowDescription(columns) => {
                put_message(buffer, b'T', |b| put_row_description(b, columns))
            }
            Self::ErrorResponse { sqlstate, message } => {
                put_message(buffer, b'E', |b| put_report(b, "ERROR", sqlstate, message))
            }
            Self::NoticeResponse(message) => put_message(buffer, b'N', |b| {
                put_report(b, "NOTICE", sqlstate::INTERNAL_ERROR, message)
            }),
            Self::EncryptionResponse(accepted) => {
                buffer.put_u8(if accepted { b'S' } else { b'N' });
                Ok(())
            }
            Self::NoData => put_message(buffer, b'n', empty),
            Self::ParameterDescription => put_message(buffer, b't', |b| {
                b.put_i16(0);
                Ok(())
            }),
            Self::ParameterStatus { name, value } => put_message(buffer, b'S', |b| {
                put_cstr(b, name.as_bytes(), "ParameterStatus")?;
                put_cstr(b, value.as_bytes(), "ParameterStatus")
            }),
            Self::ReadyForQuery => put_message(buffer, b'Z', |b| {
                b.put_u8(b'I');
                Ok(())
            }),
        }
    }
}

fn put_i32(buffer: &mut BytesMut, value: i32) -> Result<(), ProtocolError> {
    buffer.put_i32(value);
    Ok(())
}

fn put_copy_response(buffer: &mut BytesMut, format: u8) -> Result<(), ProtocolError> {
    buffer.put_u8(format);
    buffer.put_i16(0);
    Ok(())
}

fn put_report(
    buffer: &mut BytesMut,
    severity: &str,
    sqlstate: &str,
    message: &str,
) -> Result<(), ProtocolError> {
    for (field, text) in [(b'S', severity), (b'C', sqlstate), (b'M', message)] {
        buffer.put_u8(field);
        put_cstr(buffer, text.as_bytes(), "ErrorResponse")?;
    }
    buffer.put_u8(0);
    Ok(())
}

fn put_data_row(buffer: &mut BytesMut, columns: &[Option<&[u8]>]) -> Result<(), ProtocolError> {
    let too_long = |reason| ProtocolError::Unencodable { message: "DataRow", reason };
    let count = u16::try_from(columns.len()).map_err(|_| too_long("more than 65535 columns"))?;
    buffer.put_u16(count);
    for column in columns {
        match column {
            None => buffer.put_i32(-1),
            Some(value) => {
                let length = i32::try_from(value.len())
                    .map_err(|_| too_long("a value is longer than 2 GiB"))?;
                buffer.put_i32(length);
                buffer.put_slice(value);
            }
        }
    }
    Ok(())
}

fn put_row_description(
    buffer: &mut BytesMut,
    columns: &[RowDescriptor<'_>],
) -> Result<(), ProtocolError> {
    let count = i16::try_from(columns.len()).map_err(|_| ProtocolError::Unencodable {
        message: "RowDescription",
        reason: "more than 32767 columns",
    })?;
    buffer.put_i16(count);
    for column in columns {
        put_cstr(buffer, column.name.as_bytes(), "RowDescription")?;
        buffer.put_i32(0); // table OID: no table
        buffer.put_i16(0); // attribute number: none
        buffer.put_u32(column.type_oid);
        buffer.put_i16(column.type_length);
        buffer.put_i32(-1); // type modifier: none
        buffer.put_i16(0); // format: text
    }
    Ok(())
}

#[cfg(test)]
mod tests;
