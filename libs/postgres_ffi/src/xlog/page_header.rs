//! The header of a WAL page: 24 bytes, or 40 on the first page of a segment.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use utils::Lsn;
use utils::lsn::{XLOG_SIZE_OF_LONG_PHD, XLOG_SIZE_OF_SHORT_PHD};

use super::{WalIdentity, XLOG_BLCKSZ};
use crate::WAL_SEGMENT_SIZE;
use crate::reader::{LeReader, TooShort};

/// Info flag: the page begins with the rest of a record from before.
pub const XLP_FIRST_IS_CONTRECORD: u16 = 0x0001;
/// Info flag: the header is a long one.
pub const XLP_LONG_HEADER: u16 = 0x0002;
/// Info flag: page images on this page may be left out of archives.
pub const XLP_BKP_REMOVABLE: u16 = 0x0004;
/// Info flag: the record that should continue here was abandoned.
pub const XLP_FIRST_IS_OVERWRITE_CONTRECORD: u16 = 0x0008;

const ALL_FLAGS: u16 = XLP_FIRST_IS_CONTRECORD
    | XLP_LONG_HEADER
    | XLP_BKP_REMOVABLE
    | XLP_FIRST_IS_OVERWRITE_CONTRECORD;

/// The timeline id that all WAL of this system carries.
pub const TIMELINE_ID: u32 = 1;

/// A parsed page header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// Magic number, one per major version.
    pub magic: u16,
    /// Flags.
    pub info: u16,
    /// Timeline.
    pub timeline: u32,
    /// Position of the page.
    pub page_address: Lsn,
    /// Bytes of a record from before that continue on this page and after.
    pub remaining_length: u32,
    /// Present on the first page of a segment.
    pub system_id: Option<u64>,
}

/// Why a page header is not what belongs at its position.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PageHeaderError {
    /// The bytes end early.
    #[error("invalid xlog page header: {0}")]
    Truncated(#[from] TooShort),
    /// The magic number is another version's, or no WAL at all.
    #[error("invalid xlog page header: unexpected magic {found:#06X}, expected {expected:#06X}")]
    Magic {
        /// Number found.
        found: u16,
        /// Number of this major version.
        expected: u16,
    },
    /// Flags that do not exist, or a long header where a short one belongs, or the reverse.
    #[error("invalid xlog page header: unexpected info bits {0:#06X}")]
    Info(u16),
    /// The page belongs elsewhere.
    #[error("invalid xlog page header: page address {0} does not match its position")]
    PageAddress(Lsn),
    /// Segments or pages of another size.
    #[error(
        "invalid xlog page header: segment size {segment} and page size {page} are not supported"
    )]
    Geometry {
        /// Segment size found.
        segment: u32,
        /// Page size found.
        page: u32,
    },
}

impl PageHeader {
    /// Length of the header of the page at `page_start`.
    pub fn size_at(page_start: Lsn) -> usize {
        let long = page_start.segment_offset(WAL_SEGMENT_SIZE as u64) == 0;
        (if long { XLOG_SIZE_OF_LONG_PHD } else { XLOG_SIZE_OF_SHORT_PHD }) as usize
    }

    /// Reads and checks the header of the page at `page_start`.
    pub fn parse(bytes: &[u8], page_start: Lsn, magic: u16) -> Result<Self, PageHeaderError> {
        let long = Self::size_at(page_start) == XLOG_SIZE_OF_LONG_PHD as usize;
        let mut reader = LeReader::new(bytes);
        let mut header = PageHeader {
            magic: reader.u16("magic")?,
            info: reader.u16("info")?,
            timeline: reader.u32("timeline")?,
            page_address: Lsn(reader.u64("page address")?),
            remaining_length: reader.u32("remaining length")?,
            system_id: None,
        };
        reader.skip(4, "padding")?;
        if header.magic != magic {
            return Err(PageHeaderError::Magic { found: header.magic, expected: magic });
        }
        let flagged_long = header.info & XLP_LONG_HEADER != 0;
        if header.info & !ALL_FLAGS != 0 || flagged_long != long {
            return Err(PageHeaderError::Info(header.info));
        }
        if header.page_address != page_start {
            return Err(PageHeaderError::PageAddress(header.page_address));
        }
        if long {
            header.system_id = Some(reader.u64("system identifier")?);
            let (segment, page) = (reader.u32("segment size")?, reader.u32("page size")?);
            if segment as usize != WAL_SEGMENT_SIZE || page as usize != XLOG_BLCKSZ {
                return Err(PageHeaderError::Geometry { segment, page });
            }
        }
        Ok(header)
    }

    /// Whether a record from before continues on this page.
    pub fn is_continuation(&self) -> bool {
        self.info & XLP_FIRST_IS_CONTRECORD != 0
    }

    /// Whether the record that should continue here was abandoned.
    pub fn overwrites_continuation(&self) -> bool {
        self.info & XLP_FIRST_IS_OVERWRITE_CONTRECORD != 0
    }
}

/// The header bytes of the page at `page_start`. With a non-zero `remaining_length` the page
/// says that it begins with that many bytes of a record from before.
pub fn encode_page_header(
    identity: WalIdentity,
    page_start: Lsn,
    remaining_length: u32,
    extra_flags: u16,
) -> Vec<u8> {
    let long = PageHeader::size_at(page_start) == XLOG_SIZE_OF_LONG_PHD as usize;
    let mut info = extra_flags;
    if long {
        info |= XLP_LONG_HEADER;
    }
    if remaining_length > 0 {
        info |= XLP_FIRST_IS_CONTRECORD;
    }
    let mut out = Vec::with_capacity(XLOG_SIZE_OF_LONG_PHD as usize);
    out.extend_from_slice(&identity.major.xlog_page_magic().to_le_bytes());
    out.extend_from_slice(&info.to_le_bytes());
    out.extend_from_slice(&TIMELINE_ID.to_le_bytes());
    out.extend_from_slice(&page_start.0.to_le_bytes());
    out.extend_from_slice(&remaining_length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    if long {
        out.extend_from_slice(&identity.system_id.to_le_bytes());
        out.extend_from_slice(&(WAL_SEGMENT_SIZE as u32).to_le_bytes());
        out.extend_from_slice(&(XLOG_BLCKSZ as u32).to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests;
