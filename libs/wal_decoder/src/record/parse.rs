//! The parser behind [`super::decode`]: first all header items, then the data they announce.

use bytes::Bytes;
use postgres_ffi::xlog::record::{RECORD_HEADER_SIZE, RecordHeader};
use postgres_ffi::{BLCKSZ, ForkNumber, LeReader, PgMajor, RelTag, TooShort};

use super::{
    BlockImage, BlockReference, BlockReferences, DecodedRecord, ImageCompression, RecordDecodeError,
};

const MAX_BLOCK_ID: u8 = 32;
const ID_TOPLEVEL_XID: u8 = 252;
const ID_ORIGIN: u8 = 253;
const ID_DATA_LONG: u8 = 254;
const ID_DATA_SHORT: u8 = 255;

const FORK_MASK: u8 = 0x0F;
const HAS_IMAGE: u8 = 0x10;
const WILL_INIT: u8 = 0x40;
const SAME_REL: u8 = 0x80;

const IMAGE_HAS_HOLE: u8 = 0x01;
const IMAGE_APPLY: u8 = 0x02;
const IMAGE_PGLZ: u8 = 0x04;
const IMAGE_LZ4: u8 = 0x08;
const IMAGE_ZSTD: u8 = 0x10;
const IMAGE_COMPRESSED: u8 = IMAGE_PGLZ | IMAGE_LZ4 | IMAGE_ZSTD;

/// Most block references that a record can have.
const MAX_BLOCKS: usize = MAX_BLOCK_ID as usize + 1;

/// Bytes of data that a block reference announces.
#[derive(Clone, Copy, Default)]
struct BlockLengths {
    image: u16,
    data: u16,
}

/// All header items of a record. The blocks have no data yet.
struct Items<'a> {
    toplevel_xid: Option<u32>,
    origin_id: u16,
    blocks: BlockReferences<'a>,
    /// Beside the blocks rather than in them: few records have many.
    lengths: [BlockLengths; MAX_BLOCKS],
    main_length: usize,
}

/// Reads one record, remembering which one for errors.
struct Parser<'a> {
    reader: LeReader<'a>,
    rmid: u8,
    info: u8,
}

pub(super) fn decode(raw: &Bytes, _major: PgMajor) -> Result<DecodedRecord<'_>, RecordDecodeError> {
    let header = RecordHeader::parse(raw).map_err(|source| RecordDecodeError::TooShort {
        rmid: 0,
        info: 0,
        source,
    })?;
    if header.total_length as usize != raw.len() {
        let (found, stated) = (raw.len(), header.total_length);
        return Err(RecordDecodeError::Length { found, stated });
    }
    let (rmid, info) = (header.rmid, header.info);
    let body = raw.get(RECORD_HEADER_SIZE..).unwrap_or_default();
    let mut parser = Parser { reader: LeReader::new(body), rmid, info };
    let mut items = parser.items()?;
    for (reference, lengths) in items.blocks.iter_mut().zip(items.lengths) {
        parser.block_data(reference, lengths)?;
    }
    let main_data = parser.slice(items.main_length, "main data")?;
    if parser.reader.remaining() > 0 {
        let surplus = parser.reader.remaining();
        return Err(RecordDecodeError::Surplus { rmid, info, surplus });
    }
    Ok(DecodedRecord {
        xid: header.xid,
        prev: header.prev,
        info,
        rmid,
        origin_id: items.origin_id,
        toplevel_xid: items.toplevel_xid,
        blocks: items.blocks,
        main_data,
        raw,
    })
}

impl<'a> Parser<'a> {
    /// Header items end where the bytes left are exactly the data announced so far.
    fn items(&mut self) -> Result<Items<'a>, RecordDecodeError> {
        let mut items = Items {
            toplevel_xid: None,
            origin_id: 0,
            blocks: BlockReferences::new(),
            lengths: [BlockLengths::default(); MAX_BLOCKS],
            main_length: 0,
        };
        let mut announced = 0usize;
        let mut rel = None;
        while self.reader.remaining() > announced {
            match self.reader.u8("block id").map_err(|e| self.short(e))? {
                ID_DATA_SHORT => {
                    let length = self.reader.u8("main data length").map_err(|e| self.short(e))?;
                    items.main_length = usize::from(length);
                    // Main data is always announced last.
                    break;
                }
                ID_DATA_LONG => {
                    let length = self.reader.u32("main data length").map_err(|e| self.short(e))?;
                    items.main_length = length as usize;
                    break;
                }
                ID_ORIGIN => {
                    items.origin_id = self.reader.u16("origin").map_err(|e| self.short(e))?;
                }
                ID_TOPLEVEL_XID => {
                    let xid = self.reader.u32("top-level xid").map_err(|e| self.short(e))?;
                    items.toplevel_xid = Some(xid);
                }
                id @ 0..=MAX_BLOCK_ID => {
                    let (reference, lengths) = self.block_header(id, &mut rel)?;
                    announced += usize::from(lengths.image) + usize::from(lengths.data);
                    let Some(place) = items.lengths.get_mut(items.blocks.len()) else {
                        return Err(self.bad_block(id, "more references than a record can have"));
                    };
                    *place = lengths;
                    items.blocks.push(reference);
                }
                id => {
                    let (rmid, info) = (self.rmid, self.info);
                    return Err(RecordDecodeError::UnknownBlockId { rmid, info, id });
                }
            }
        }
        Ok(items)
    }

    fn block_header(
        &mut self,
        id: u8,
        last_rel: &mut Option<RelTag>,
    ) -> Result<(BlockReference<'a>, BlockLengths), RecordDecodeError> {
        let flags = self.reader.u8("block flags").map_err(|e| self.short(e))?;
        let data_length = self.reader.u16("block data length").map_err(|e| self.short(e))?;
        let fork = ForkNumber::from_u8(flags & FORK_MASK)
            .ok_or_else(|| self.bad_block(id, "unknown fork"))?;
        let (image, image_length) = match flags & HAS_IMAGE {
            0 => (None, 0),
            _ => self.image_header(id).map(|(image, length)| (Some(image), length))?,
        };
        let rel = if flags & SAME_REL == 0 {
            self.rel(fork).map_err(|e| self.short(e))?
        } else {
            last_rel
                .ok_or_else(|| self.bad_block(id, "same relation as before, but there is none"))?
                .with_fork(fork)
        };
        *last_rel = Some(rel);
        let block = self.reader.u32("block number").map_err(|e| self.short(e))?;
        let will_init = flags & WILL_INIT != 0;
        let reference = BlockReference { id, rel, block, will_init, image, data: &[] };
        Ok((reference, BlockLengths { image: image_length, data: data_length }))
    }

    fn rel(&mut self, fork: ForkNumber) -> Result<RelTag, TooShort> {
        Ok(RelTag {
            spcnode: self.reader.u32("tablespace")?,
            dbnode: self.reader.u32("database")?,
            relnode: self.reader.u32("relation")?,
            fork,
        })
    }

    fn image_header(&mut self, id: u8) -> Result<(BlockImage<'a>, u16), RecordDecodeError> {
        let length = self.reader.u16("image length").map_err(|e| self.short(e))?;
        let hole_offset = self.reader.u16("hole offset").map_err(|e| self.short(e))?;
        let flags = self.reader.u8("image flags").map_err(|e| self.short(e))?;
        let compression = match flags & IMAGE_COMPRESSED {
            0 => ImageCompression::None,
            IMAGE_PGLZ => ImageCompression::Pglz,
            IMAGE_LZ4 => ImageCompression::Lz4,
            IMAGE_ZSTD => ImageCompression::Zstd,
            _ => return Err(self.bad_block(id, "unknown image compression")),
        };
        let hole_length = match (flags & IMAGE_HAS_HOLE != 0, compression) {
            (false, _) => 0,
            (true, ImageCompression::None) => (BLCKSZ as u16)
                .checked_sub(length)
                .ok_or_else(|| self.bad_block(id, "image longer than a page"))?,
            (true, _) => self.reader.u16("hole length").map_err(|e| self.short(e))?,
        };
        if usize::from(hole_offset) + usize::from(hole_length) > BLCKSZ {
            return Err(self.bad_block(id, "image hole reaches beyond the page"));
        }
        let apply = flags & IMAGE_APPLY != 0;
        let image = BlockImage { bytes: &[], hole_offset, hole_length, compression, apply };
        Ok((image, length))
    }

    fn block_data(
        &mut self,
        reference: &mut BlockReference<'a>,
        lengths: BlockLengths,
    ) -> Result<(), RecordDecodeError> {
        if let Some(image) = &mut reference.image {
            image.bytes = self.slice(usize::from(lengths.image), "page image")?;
        }
        if lengths.data > 0 {
            reference.data = self.slice(usize::from(lengths.data), "block data")?;
        }
        Ok(())
    }

    /// The next bytes of the record.
    fn slice(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], RecordDecodeError> {
        self.reader.bytes(length, what).map_err(|e| self.short(e))
    }

    fn short(&self, source: TooShort) -> RecordDecodeError {
        RecordDecodeError::TooShort { rmid: self.rmid, info: self.info, source }
    }

    fn bad_block(&self, id: u8, what: &'static str) -> RecordDecodeError {
        RecordDecodeError::BlockReference { rmid: self.rmid, info: self.info, id, what }
    }
}
