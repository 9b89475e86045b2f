//! Messages a client sends after the startup packet, as a server reads them.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::ProtocolError;
use crate::framing::{take_cstr, take_message};

/// A message from the client. The extended query protocol is understood only as far as
/// drivers need it for unparameterised statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeMessage {
    /// `Q`: run this text. Raw bytes including the terminating NUL.
    Query(Bytes),
    /// `P`: remember this text as the unnamed statement. Without the NUL.
    Parse(Bytes),
    /// `D`: describe the unnamed statement.
    Describe,
    /// `B`: bind the unnamed portal.
    Bind,
    /// `E`: run the unnamed portal to the end.
    Execute,
    /// `C`: close a statement or portal.
    Close,
    /// `S`: end of an extended query.
    Sync,
    /// `X`: the client is leaving.
    Terminate,
    /// `d`: raw payload of a COPY stream.
    CopyData(Bytes),
    /// `c`: the client's COPY stream ended well.
    CopyDone,
    /// `f`: the client's COPY stream failed. The reason, without its NUL.
    CopyFail(Bytes),
    /// `p`: a password, raw and normally NUL-terminated.
    PasswordMessage(Bytes),
}

impl FeMessage {
    /// Takes one message off the front of `buffer`; `None` when more bytes are needed.
    pub fn parse(buffer: &mut BytesMut) -> Result<Option<Self>, ProtocolError> {
        match take_message(buffer)? {
            None => Ok(None),
            Some((tag, body)) => Self::parse_body(tag, body).map(Some),
        }
    }

    fn parse_body(tag: u8, body: Bytes) -> Result<Self, ProtocolError> {
        match tag {
            b'Q' => Ok(Self::Query(body)),
            b'P' => parse_parse(body),
            b'D' => parse_describe(body),
            b'B' => parse_bind(body),
            b'E' => parse_execute(body),
            b'C' => Ok(Self::Close),
            b'S' => Ok(Self::Sync),
            b'X' => Ok(Self::Terminate),
            b'd' => Ok(Self::CopyData(body)),
            b'c' => Ok(Self::CopyDone),
            b'f' => Ok(Self::CopyFail(without_nul(body))),
            b'p' => Ok(Self::PasswordMessage(body)),
            tag => {
                let body = body.iter().take(32).copied().collect();
                Err(ProtocolError::UnknownTag { tag, body })
            }
        }
    }

    /// The kind of the message, for error texts that must not repeat its content.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Query(_) => "Query",
            Self::Parse(_) => "Parse",
            Self::Describe => "Describe",
            Self::Bind => "Bind",
            Self::Execute => "Execute",
            Self::Close => "Close",
            Self::Sync => "Sync",
            Self::Terminate => "Terminate",
            Self::CopyData(_) => "CopyData",
            Self::CopyDone => "CopyDone",
            Self::CopyFail(_) => "CopyFail",
            Self::PasswordMessage(_) => "PasswordMessage",
        }
    }
}

/// Drops one trailing NUL, if there is one.
pub fn without_nul(mut text: Bytes) -> Bytes {
    if text.last() == Some(&0) {
        text.truncate(text.len() - 1);
    }
    text
}

fn parse_parse(mut body: Bytes) -> Result<FeMessage, ProtocolError> {
    let _statement_name = take_cstr(&mut body, "Parse")?;
    let query = take_cstr(&mut body, "Parse")?;
    let parameters = body.try_get_u16().map_err(|_| ProtocolError::truncated("Parse"))?;
    if parameters != 0 {
        return Err(ProtocolError::NotImplemented("query params"));
    }
    Ok(FeMessage::Parse(query))
}

fn parse_describe(mut body: Bytes) -> Result<FeMessage, ProtocolError> {
    let kind = body.try_get_u8().map_err(|_| ProtocolError::truncated("Describe"))?;
    let _name = take_cstr(&mut body, "Describe")?;
    if kind != b'S' {
        return Err(ProtocolError::NotImplemented("Describe of anything but a statement"));
    }
    Ok(FeMessage::Describe)
}

fn parse_bind(mut body: Bytes) -> Result<FeMessage, ProtocolError> {
    let portal = take_cstr(&mut body, "Bind")?;
    let _statement_name = take_cstr(&mut body, "Bind")?;
    if !portal.is_empty() {
        return Err(ProtocolError::NotImplemented("named portals"));
    }
    Ok(FeMessage::Bind)
}

fn parse_execute(mut body: Bytes) -> Result<FeMessage, ProtocolError> {
    let portal = take_cstr(&mut body, "Execute")?;
    let row_limit = body.try_get_i32().map_err(|_| ProtocolError::truncated("Execute"))?;
    if !portal.is_empty() {
        return Err(ProtocolError::NotImplemented("named portals"));
    }
    if row_limit != 0 {
        return Err(ProtocolError::NotImplemented("row limit in Execute message"));
    }
    Ok(FeMessage::Execute)
}

#[cfg(test)]
mod tests;
