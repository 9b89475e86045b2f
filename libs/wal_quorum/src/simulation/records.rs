//! The simulated WAL: records with a length and a checksum, so that a scan
//! finds the end of the log the way a real one does.

use utils::Lsn;

/// Where the simulated database's WAL begins: a typical position after initdb.
pub const DATABASE_START: Lsn = Lsn(0x149F0F0);

/// Bytes before the payload: length and checksum.
const HEADER_BYTES: usize = 8;

/// A record whose payload is `fill` repeated; `payload_words` of 8 bytes each.
pub fn record(fill: u64, payload_words: usize) -> Vec<u8> {
    let length = HEADER_BYTES + 8 * payload_words.max(1);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend([0; 4]);
    while bytes.len() < length {
        bytes.extend(fill.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole record of this many bytes.
    Record(usize),
    /// The beginning of a record.
    Incomplete,
    /// Zeros or damage: the end of the log.
    Invalid,
}

/// Looks at the first record of `bytes`.
pub fn decode(bytes: &[u8]) -> Decoded {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Decoded::Incomplete };
    let length = u32::from_le_bytes(*length) as usize;
    if length <= HEADER_BYTES || !length.is_multiple_of(8) {
        return Decoded::Invalid;
    }
    if bytes.len() < length {
        return Decoded::Incomplete;
    }
    let mut image = bytes[..length].to_vec();
    image[4..8].fill(0);
    match crc32c::crc32c(&image).to_le_bytes() == rest[..4] {
        true => Decoded::Record(length),
        false => Decoded::Invalid,
    }
}
