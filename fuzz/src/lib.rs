//! What fuzz targets and the seed generator share: how an input is split, and
//! the identities that layer files must carry.

pub mod redo;

use camino::Utf8Path;
use layer_format::LayerName;
use pageserver_api::Key;
use postgres_ffi::PgMajor;
use utils::{Lsn, TenantId, TimelineId};

/// Tenant of every layer file.
pub const TENANT: TenantId = TenantId::from_bytes([0x11; 16]);
/// Timeline of every layer file.
pub const TIMELINE: TimelineId = TimelineId::from_bytes([0x22; 16]);
/// WAL in inputs begins here: the start of a segment.
pub const WAL_START: Lsn = Lsn(0x100_0000);

/// Name of the delta layer that inputs are taken for.
pub fn delta_name() -> LayerName {
    LayerName::delta(Key::MIN..last_key(), Lsn(0x100)..Lsn(0x1000))
}

/// Name of the image layer that inputs are taken for.
pub fn image_name() -> LayerName {
    LayerName::image(Key::MIN..last_key(), Lsn(0x100))
}

/// End of the key range of both layers.
pub fn last_key() -> Key {
    Key::from_bytes(&[0x7F; 18])
}

/// A major version chosen by the first byte, and the rest.
pub fn split_major(data: &[u8]) -> Option<(PgMajor, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((PgMajor::ALL[usize::from(*first) % PgMajor::ALL.len()], rest))
}

/// Splits an input into pieces, each announced by a two-byte length.
pub fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        pieces.push(piece);
        data = rest;
    }
    pieces
}

/// The inverse of [`pieces`].
pub fn join_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut data = Vec::new();
    for piece in pieces {
        data.extend((piece.len() as u16).to_le_bytes());
        data.extend(piece);
    }
    data
}

/// Writes one seed; its name tells what it is.
pub fn write_seed(corpus: &Utf8Path, target: &str, name: &str, data: &[u8]) -> std::io::Result<()> {
    let directory = corpus.join(target);
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join(name), data)
}
