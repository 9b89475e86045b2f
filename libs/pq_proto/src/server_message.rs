//! Messages a server sends, as a client reads them.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::ProtocolError;
use crate::framing::{take_bytes, take_cstr, take_message};

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// `R`: a step of authentication.
    Authentication(Authentication),
    /// `K`: how to cancel.
    BackendKeyData {
        /// Process id.
        backend_pid: i32,
    },
    /// `S`: a session parameter.
    ParameterStatus {
        /// Name.
        name: String,
        /// Value.
        value: String,
    },
    /// `Z`: the server waits for a command.
    ReadyForQuery,
    /// `T`: names of the columns that follow.
    RowDescription(Vec<String>),
    /// `D`: one row; `None` is NULL.
    DataRow(Vec<Option<Bytes>>),
    /// `C`: a command ended well; its tag.
    CommandComplete(String),
    /// `I`: the query text was empty.
    EmptyQueryResponse,
    /// `E`: a command failed.
    ErrorResponse(ServerReport),
    /// `N`: a remark.
    NoticeResponse(ServerReport),
    /// `G`: the server expects a COPY stream.
    CopyInResponse,
    /// `H`: a COPY stream follows.
    CopyOutResponse,
    /// `W`: COPY streams in both directions.
    CopyBothResponse,
    /// `d`: payload of a COPY stream.
    CopyData(Bytes),
    /// `c`: end of the server's COPY stream.
    CopyDone,
    /// `A`: asynchronous notification; content ignored.
    NotificationResponse,
    /// `v`: the server does not know the minor version or some options.
    NegotiateProtocolVersion,
}

/// What the server wants from a client that is logging in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Nothing more.
    Ok,
    /// The password in clear text.
    CleartextPassword,
    /// The password hashed with this salt.
    Md5Password([u8; 4]),
    /// A SASL exchange with one of these mechanisms.
    Sasl(Vec<String>),
    /// A later step of the SASL exchange.
    SaslContinue(Bytes),
    /// The last step of the SASL exchange.
    SaslFinal(Bytes),
    /// A method that no client here speaks.
    Unsupported(i32),
}

/// Content of an ErrorResponse or NoticeResponse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerReport {
    /// Severity, not localised when the server sends that form.
    pub severity: String,
    /// SQLSTATE.
    pub sqlstate: String,
    /// Main text.
    pub message: String,
    /// More about the reason, possibly empty.
    pub detail: String,
    /// What to do about it, possibly empty.
    pub hint: String,
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (SQLSTATE {})", self.severity, self.message, self.sqlstate)?;
        if !self.detail.is_empty() {
            write!(f, "; detail: {}", self.detail)?;
        }
        if !self.hint.is_empty() {
            write!(f, "; hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl ServerMessage {
    /// Takes one message off the front of `buffer`; `None` when more bytes are needed.
    pub fn parse(buffer: &mut BytesMut) -> Result<Option<Self>, ProtocolError> {
        match take_message(buffer)? {
            None => Ok(None),
            Some((tag, body)) => Self::parse_body(tag, body).map(Some),
        }
    }

    fn parse_body(tag: u8, body: Bytes) -> Result<Self, ProtocolError> {
        match tag {
            b'R' => parse_authentication(body).map(Self::Authentication),
            b'K' => parse_key_data(body),
            b'S' => parse_parameter_status(body),
            b'Z' => Ok(Self::ReadyForQuery),
            b'T' => parse_row_description(body),
            b'D' => parse_data_row(body),
            b'C' => parse_command_complete(body),
            b'I' => Ok(Self::EmptyQueryResponse),
            b'E' => parse_report(body, "ErrorResponse").map(Self::ErrorResponse),
            b'N' => parse_report(body, "NoticeResponse").map(Self::NoticeResponse),
            b'G' => Ok(Self::CopyInResponse),
            b'H' => Ok(Self::CopyOutResponse),
            b'W' => Ok(Self::CopyBothResponse),
            b'd' => Ok(Self::CopyData(body)),
            b'c' => Ok(Self::CopyDone),
            b'A' => Ok(Self::NotificationResponse),
            b'v' => Ok(Self::NegotiateProtocolVersion),
            tag => {
                let body = body.iter().take(32).copied().collect();
                Err(ProtocolError::UnknownTag { tag, body })
            }
        }
    }

    /// The kind of the message, for error texts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Authentication(_) => "Authentication",
            Self::BackendKeyData { .. } => "BackendKeyData",
            Self::ParameterStatus { .. } => "ParameterStatus",
            Self::ReadyForQuery => "ReadyForQuery",
            Self::RowDescription(_) => "RowDescription",
            Self::DataRow(_) => "DataRow",
            Self::CommandComplete(_) => "CommandComplete",
            Self::EmptyQueryResponse => "EmptyQueryResponse",
            Self::ErrorResponse(_) => "ErrorResponse",
            Self::NoticeResponse(_) => "NoticeResponse",
            Self::CopyInResponse => "CopyInResponse",
            Self::CopyOutResponse => "CopyOutResponse",
            Self::CopyBothResponse => "CopyBothResponse",
            Self::CopyData(_) => "CopyData",
            Self::CopyDone => "CopyDone",
            Self::NotificationResponse => "NotificationResponse",
            Self::NegotiateProtocolVersion => "NegotiateProtocolVersion",
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parse_authentication(mut body: Bytes) -> Result<Authentication, ProtocolError> {
    let name = "Authentication";
    match body.try_get_i32().map_err(|_| ProtocolError::truncated(name))? {
        0 => Ok(Authentication::Ok),
        3 => Ok(Authentication::CleartextPassword),
        5 => {
            let salt = take_bytes(&mut body, 4, name)?;
            let salt = salt[..].try_into().map_err(|_| ProtocolError::truncated(name))?;
            Ok(Authentication::Md5Password(salt))
        }
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                let mechanism = take_cstr(&mut body, name)?;
                if mechanism.is_empty() {
                    return Ok(Authentication::Sasl(mechanisms));
                }
                mechanisms.push(text(&mechanism));
            }
        }
        11 => Ok(Authentication::SaslContinue(body)),
        12 => Ok(Authentication::SaslFinal(body)),
        method => Ok(Authentication::Unsupported(method)),
    }
}

fn parse_key_data(mut body: Bytes) -> Result<ServerMessage, ProtocolError> {
    let pid = body.try_get_i32().map_err(|_| ProtocolError::truncated("BackendKeyData"))?;
    Ok(ServerMessage::BackendKeyData { backend_pid: pid })
}

fn parse_parameter_status(mut body: Bytes) -> Result<ServerMessage, ProtocolError> {
    let name = text(&take_cstr(&mut body, "ParameterStatus")?);
    let value = text(&take_cstr(&mut body, "ParameterStatus")?);
    Ok(ServerMessage::ParameterStatus { name, value })
}

fn parse_command_complete(mut body: Bytes) -> Result<ServerMessage, ProtocolError> {
    Ok(ServerMessage::CommandComplete(text(&take_cstr(&mut body, "CommandComplete")?)))
}

fn parse_row_description(mut body: Bytes) -> Result<ServerMessage, ProtocolError> {
    const FIXED_BYTES_PER_COLUMN: usize = 18;
    let name = "RowDescription";
    let count = body.try_get_u16().map_err(|_| ProtocolError::truncated(name))?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(text(&take_cstr(&mut body, name)?));
        take_bytes(&mut body, FIXED_BYTES_PER_COLUMN, name)?;
    }
    Ok(ServerMessage::RowDescription(columns))
}

fn parse_data_row(mut body: Bytes) -> Result<ServerMessage, ProtocolError> {
    let name = "DataRow";
    let count = body.try_get_u16().map_err(|_| ProtocolError::truncated(name))?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let length = body.try_get_i32().map_err(|_| ProtocolError::truncated(name))?;
        columns.push(match length {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| {
                    ProtocolError::malformed(name, format!("negative column length {length}"))
                })?;
                Some(take_bytes(&mut body, length, name)?)
            }
        });
    }
    Ok(ServerMessage::DataRow(columns))
}

fn parse_report(mut body: Bytes, name: &'static str) -> Result<ServerReport, ProtocolError> {
    let mut report = ServerReport::default();
    loop {
        let field = body.try_get_u8().map_err(|_| ProtocolError::truncated(name))?;
        if field == 0 {
            return Ok(report);
        }
        let value = text(&take_cstr(&mut body, name)?);
        match field {
            // 'V' is the severity that is never translated; it follows 'S' where it exists.
            b'S' | b'V' => report.severity = value,
            b'C' => report.sqlstate = value,
            b'M' => report.message = value,
            b'D' => report.detail = value,
            b'H' => report.hint = value,
            // Position, file, line, routine and the like: the protocol tells clients to
            // ignore field types they have no use for.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
