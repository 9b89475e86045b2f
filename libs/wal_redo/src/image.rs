//! Full-page images: decompressing them and putting the hole back.
//!
//! Record layout: docs/formats/wal.md. An image that does not give exactly one page is an
//! error; no input makes this module panic or allocate more than a page.

use postgres_ffi::BLCKSZ;
use wal_decoder::record::{BlockImage, ImageCompression};

mod pglz;

/// Why an image could not be restored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageError {
    /// Hole offset and length lead outside the page.
    #[error("page image has a hole of {length} bytes at {offset}, outside the page")]
    BadHole {
        /// Where the hole begins.
        offset: u16,
        /// Its length.
        length: u16,
    },
    /// An uncompressed image has the wrong size.
    #[error("page image has {found} bytes where {wanted} are needed")]
    WrongLength {
        /// Bytes the page has outside its hole.
        wanted: usize,
        /// Bytes found.
        found: usize,
    },
    /// The compressed bytes are malformed or give the wrong number of bytes.
    #[error("page image is not valid {0:?} data of the page's size")]
    Corrupt(ImageCompression),
}

/// Rebuilds the page that an image describes. The page's LSN is the one it had when the image
/// was taken; the caller stamps the record's end over it.
pub fn restore(image: &BlockImage) -> Result<Box<[u8; BLCKSZ]>, ImageError> {
    let mut page = Box::new([0; BLCKSZ]);
    restore_into(image, &mut page)?;
    Ok(page)
}

/// As [`restore`], into a buffer that the caller owns. On error its content is unspecified.
pub fn restore_into(image: &BlockImage, page: &mut [u8; BLCKSZ]) -> Result<(), ImageError> {
    let hole_start = usize::from(image.hole_offset);
    let hole_length = usize::from(image.hole_length);
    let bad_hole = ImageError::BadHole { offset: image.hole_offset, length: image.hole_length };
    let Some(wanted) = BLCKSZ.checked_sub(hole_length).filter(|wanted| hole_start <= *wanted)
    else {
        return Err(bad_hole);
    };
    decompress(image, wanted, page)?;
    let hole_end = hole_start + hole_length;
    page.copy_within(hole_start..wanted, hole_end);
    if let Some(hole) = page.get_mut(hole_start..hole_end) {
        hole.fill(0);
    }
    Ok(())
}

/// Writes the `wanted` bytes outside the hole to the front of the page.
fn decompress(
    image: &BlockImage,
    wanted: usize,
    page: &mut [u8; BLCKSZ],
) -> Result<(), ImageError> {
    let corrupt = ImageError::Corrupt(image.compression);
    let Some(target) = page.get_mut(..wanted) else { return Err(corrupt) };
    let written = match image.compression {
        ImageCompression::None => {
            let found = image.bytes.len();
            if found != wanted {
                return Err(ImageError::WrongLength { wanted, found });
            }
            target.copy_from_slice(image.bytes);
            Some(wanted)
        }
        ImageCompression::Pglz => pglz::decompress(image.bytes, target),
        ImageCompression::Lz4 => lz4_flex::block::decompress_into(image.bytes, target).ok(),
        ImageCompression::Zstd => zstd::bulk::decompress_to_buffer(image.bytes, target).ok(),
    };
    if written == Some(wanted) { Ok(()) } else { Err(corrupt) }
}

#[cfg(test)]
mod tests;
