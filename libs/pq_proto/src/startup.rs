//! The untagged packet that opens a connection.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::ProtocolError;
use crate::framing::{put_cstr, put_length_prefixed};

const MIN_STARTUP_BYTES: u32 = 8;
const MAX_STARTUP_BYTES: u32 = 10_000;
const RESERVED_MAJOR: u16 = 1234;
const CANCEL_CODE: u16 = 5678;
const SSL_CODE: u16 = 5679;
const GSSENC_CODE: u16 = 5680;

/// What a client may send first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartupPacket {
    /// Asks to cancel the query of another connection.
    CancelRequest {
        /// Process id given by BackendKeyData.
        backend_pid: i32,
        /// Secret given by BackendKeyData.
        cancel_key: i32,
    },
    /// Asks for TLS; answered by one byte.
    SslRequest,
    /// Asks for GSSAPI encryption; answered by one byte.
    GssEncRequest,
    /// Opens a session.
    StartupMessage {
        /// Major protocol version, 3.
        major: u16,
        /// Minor protocol version.
        minor: u16,
        /// The session's parameters.
        parameters: StartupParameters,
    },
}

/// Name/value pairs of a StartupMessage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartupParameters {
    values: BTreeMap<String, String>,
}

impl StartupParameters {
    /// Collects pairs; a later duplicate wins.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self { values: pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect() }
    }

    /// The value of one parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All pairs, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The `options` parameter as sent.
    pub fn options_raw(&self) -> Option<&str> {
        self.get("options")
    }

    /// The `options` parameter split at unescaped whitespace; `\ ` and `\\` lose their escape.
    pub fn options(&self) -> Vec<String> {
        self.options_raw().map(split_options).unwrap_or_default()
    }
}

/// Splits an `options` string at unescaped whitespace and removes the escapes.
pub fn split_options(raw: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = raw.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// Joins options for the `options` parameter: single blanks between them, and inside each a
/// backslash before every backslash and whitespace character.
pub fn join_options<S: AsRef<str>>(options: impl IntoIterator<Item = S>) -> String {
    let mut joined = String::new();
    for option in options {
        if !joined.is_empty() {
            joined.push(' ');
        }
        for character in option.as_ref().chars() {
            if character == '\\' || character.is_whitespace() {
                joined.push('\\');
            }
            joined.push(character);
        }
    }
    joined
}

impl StartupPacket {
    /// Takes one startup packet off the front of `buffer`; `None` when more bytes are needed.
    pub fn parse(buffer: &mut BytesMut) -> Result<Option<Self>, ProtocolError> {
        let Ok(length) = (&buffer[..]).try_get_u32() else {
            return Ok(None);
        };
        if !(MIN_STARTUP_BYTES..=MAX_STARTUP_BYTES).contains(&length) {
            return Err(ProtocolError::StartupLength(length));
        }
        if buffer.len() < length as usize {
            return Ok(None);
        }
        let mut body = buffer.split_to(length as usize).freeze();
        body.advance(4);
        Self::parse_body(body).map(Some)
    }

    fn parse_body(mut body: Bytes) -> Result<Self, ProtocolError> {
        let truncated = |_| ProtocolError::truncated("startup packet");
        let high = body.try_get_u16().map_err(truncated)?;
        let low = body.try_get_u16().map_err(truncated)?;
        match (high, low) {
            (RESERVED_MAJOR, CANCEL_CODE) => Ok(Self::CancelRequest {
                backend_pid: body.try_get_i32().map_err(truncated)?,
                cancel_key: body.try_get_i32().map_err(truncated)?,
            }),
            (RESERVED_MAJOR, SSL_CODE) => Ok(Self::SslRequest),
            (RESERVED_MAJOR, GSSENC_CODE) => Ok(Self::GssEncRequest),
            (RESERVED_MAJOR, code) => Err(ProtocolError::UnknownRequestCode(code)),
            (major, minor) => {
                let parameters = parse_parameters(&body)?;
                Ok(Self::StartupMessage { major, minor, parameters })
            }
        }
    }

    /// Appends the packet, as a client sends it.
    pub fn write(&self, buffer: &mut BytesMut) -> Result<(), ProtocolError> {
        let start = buffer.len();
        let outcome = put_length_prefixed(buffer, |buffer| self.write_body(buffer));
        let length = buffer.len() - start;
        match outcome {
            Ok(()) if length > MAX_STARTUP_BYTES as usize => {
                buffer.truncate(start);
                let reason = "the parameters are longer than 10000 bytes";
                Err(ProtocolError::Unencodable { message: "startup packet", reason })
            }
            Ok(()) => Ok(()),
            Err(error) => {
                buffer.truncate(start);
                Err(error)
            }
        }
    }

    fn write_body(&self, buffer: &mut BytesMut) -> Result<(), ProtocolError> {
        let mut put_code = |high: u16, low: u16| {
            buffer.put_u16(high);
            buffer.put_u16(low);
        };
        match self {
            Self::CancelRequest { backend_pid, cancel_key } => {
                put_code(RESERVED_MAJOR, CANCEL_CODE);
                buffer.put_i32(*backend_pid);
                buffer.put_i32(*cancel_key);
            }
            Self::SslRequest => put_code(RESERVED_MAJOR, SSL_CODE),
            Self::GssEncRequest => put_code(RESERVED_MAJOR, GSSENC_CODE),
            Self::StartupMessage { major, minor, parameters } => {
                put_code(*major, *minor);
                for (name, value) in parameters.iter() {
                    if name.is_empty() {
                        let reason = "a parameter has an empty name";
                        return Err(ProtocolError::Unencodable {
                            message: "startup packet",
                            reason,
                        });
                    }
                    put_cstr(buffer, name.as_bytes(), "startup packet")?;
                    put_cstr(buffer, value.as_bytes(), "startup packet")?;
                }
                buffer.put_u8(0);
            }
        }
        Ok(())
    }
}

fn parse_parameters(body: &[u8]) -> Result<StartupParameters, ProtocolError> {
    let text = std::str::from_utf8(body).map_err(|_| ProtocolError::NotUtf8("startup packet"))?;
    let text = text.strip_suffix('\0').ok_or_else(|| {
        ProtocolError::malformed("startup packet", "missing null terminator after the parameters")
    })?;
    // What remains is "name\0value\0…name\0value\0", or nothing at all.
    let Some(text) = text.strip_suffix('\0') else {
        if text.is_empty() {
            return Ok(StartupParameters::default());
        }
        let reason = "missing null terminator: the last parameter is not followed by an empty name";
        return Err(ProtocolError::malformed("startup packet", reason));
    };
    let mut values = BTreeMap::new();
    let mut words = text.split('\0');
    while let Some(name) = words.next() {
        let Some(value) = words.next() else {
            let reason = format!("parameter {name:?} has no value");
            return Err(ProtocolError::malformed("startup packet", reason));
        };
        values.insert(name.to_owned(), value.to_owned());
    }
    Ok(StartupParameters { values })
}

#[cfg(test)]
mod tests;
