//! The tag-and-length envelope that both directions share, and checked reads of its contents.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::ProtocolError;

/// Longest message body accepted from a peer, in bytes. The longest legitimate ones are
/// AppendRequests (128 KiB) and result rows; the bound keeps a broken peer from making this
/// side buffer gigabytes.
pub const MAX_MESSAGE_BYTES: u32 = 256 * 1024 * 1024;

/// Takes one complete `tag, length, body` message off the front of `buffer`. `None` means that
/// more bytes are needed; the buffer is then untouched.
pub(crate) fn take_message(buffer: &mut BytesMut) -> Result<Option<(u8, Bytes)>, ProtocolError> {
    let mut header = &buffer[..];
    let (Ok(tag), Ok(length)) = (header.try_get_u8(), header.try_get_u32()) else {
        return Ok(None);
    };
    let Some(body_length) = length.checked_sub(4) else {
        return Err(ProtocolError::MessageLength(length));
    };
    if body_length > MAX_MESSAGE_BYTES {
        return Err(ProtocolError::MessageTooLong { length, limit: MAX_MESSAGE_BYTES });
    }
    if header.remaining() < body_length as usize {
        return Ok(None);
    }
    buffer.advance(5);
    Ok(Some((tag, buffer.split_to(body_length as usize).freeze())))
}

/// Appends a message whose body `write_body` produces; the length word is filled in afterwards.
/// On error the buffer is left as it was.
pub(crate) fn put_message(
    buffer: &mut BytesMut,
    tag: u8,
    write_body: impl FnOnce(&mut BytesMut) -> Result<(), ProtocolError>,
) -> Result<(), ProtocolError> {
    let start = buffer.len();
    buffer.put_u8(tag);
    let outcome = put_length_prefixed(buffer, write_body);
    if outcome.is_err() {
        buffer.truncate(start);
    }
    outcome
}

/// Appends `length, body` where the length counts itself.
pub(crate) fn put_length_prefixed(
    buffer: &mut BytesMut,
    write_body: impl FnOnce(&mut BytesMut) -> Result<(), ProtocolError>,
) -> Result<(), ProtocolError> {
    let start = buffer.len();
    buffer.put_u32(0);
    write_body(buffer)?;
    let length = u32::try_from(buffer.len() - start).map_err(|_| ProtocolError::Unencodable {
        message: "message",
        reason: "it is longer than 4 GiB",
    })?;
    if let Some(slot) = buffer.get_mut(start..start + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Appends a NUL-terminated string; one that contains NUL has no encoding.
pub(crate) fn put_cstr(
    buffer: &mut BytesMut,
    text: &[u8],
    message: &'static str,
) -> Result<(), ProtocolError> {
    if text.contains(&0) {
        return Err(ProtocolError::Unencodable { message, reason: "a string contains NUL" });
    }
    buffer.put_slice(text);
    buffer.put_u8(0);
    Ok(())
}

/// Takes a NUL-terminated string off the front of `body`, without its NUL.
pub(crate) fn take_cstr(body: &mut Bytes, message: &'static str) -> Result<Bytes, ProtocolError> {
    let end =
        body.iter().position(|&byte| byte == 0).ok_or(ProtocolError::MissingTerminator(message))?;
    let text = body.split_to(end);
    body.advance(1);
    Ok(text)
}

/// Takes exactly `length` bytes.
pub(crate) fn take_bytes(
    body: &mut Bytes,
    length: usize,
    message: &'static str,
) -> Result<Bytes, ProtocolError> {
    if body.remaining() < length {
        return Err(ProtocolError::truncated(message));
    }
    Ok(body.split_to(length))
}

/// Refuses bytes after the last field.
pub(crate) fn expect_end(body: &Bytes, message: &'static str) -> Result<(), ProtocolError> {
    if body.is_empty() {
        return Ok(());
    }
    let reason = format!("{} bytes after its last field", body.len());
    Err(ProtocolError::malformed(message, reason))
}
