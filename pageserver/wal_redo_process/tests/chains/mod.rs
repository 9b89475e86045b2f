//! Chains of records made by hand: the two that redo is measured with, as PostgreSQL 15 logs
//! them. Shared by tests and benchmarks.

use bytes::Bytes;
use postgres_ffi::xlog::RawRecord;
use postgres_ffi::{BLCKSZ, ForkNumber, RelTag};
use utils::Lsn;
use wal_redo_process::protocol::PageTag;

const HEAP2: u8 = 9;
const HEAP: u8 = 10;
const INIT_PAGE: u8 = 0x80;
const XID: u32 = 700;

const HAS_IMAGE: u8 = 0x10;
const HAS_DATA: u8 = 0x20;
const WILL_INIT: u8 = 0x40;
const SAME_REL: u8 = 0x80;
const IMAGE_HAS_HOLE: u8 = 0x01;
const IMAGE_APPLY: u8 = 0x02;

const HEADER_BYTES: usize = 24;
const FIRST_LSN: u64 = 0x16B_40A0;

/// Records of one page, oldest first.
pub struct Chain {
    /// The page they are for.
    pub tag: PageTag,
    /// End and bytes of each.
    pub records: Vec<(Lsn, Bytes)>,
}

fn tag(relnode: u32) -> PageTag {
    let rel = RelTag { spcnode: 1663, dbnode: 13010, relnode, fork: ForkNumber::Main };
    PageTag { rel, block: 0 }
}

fn put_rel(body: &mut Vec<u8>, tag: PageTag) {
    for number in [tag.rel.spcnode, tag.rel.dbnode, tag.rel.relnode, tag.block] {
        body.extend(number.to_le_bytes());
    }
}

fn put_main(body: &mut Vec<u8>, length: usize) {
    body.extend([255, length as u8]);
}

/// INSERT of a row with two integers at `offset`; on a fresh page if it is the first.
fn insert(tag: PageTag, offset: u16) -> RawRecord {
    // Two members in the tuple header, their flags, where the data begin, padding, data.
    let mut tuple = vec![2, 0, 0, 8, HEADER_BYTES as u8, 0];
    tuple.extend(u32::from(offset).to_le_bytes());
    tuple.extend((u32::from(offset) * 7).to_le_bytes());
    let first = offset == 1;
    let mut body = vec![0, HAS_DATA | if first { WILL_INIT } else { 0 }];
    body.extend((tuple.len() as u16).to_le_bytes());
    put_rel(&mut body, tag);
    put_main(&mut body, 3);
    body.extend(tuple);
    body.extend(offset.to_le_bytes());
    body.push(0);
    let info = if first { INIT_PAGE } else { 0 };
    RawRecord { xid: XID, info, rmid: HEAP, body }
}

/// INSERT whose page is logged whole: one tuple of 180 bytes.
fn insert_with_image(tag: PageTag) -> RawRecord {
    let tuple_bytes = 180usize;
    let upper = BLCKSZ - tuple_bytes.next_multiple_of(8);
    let lower = HEADER_BYTES + 4;
    let mut front = vec![0u8; lower];
    for (at, value) in [(12, lower), (14, upper), (16, BLCKSZ), (18, 0x2004)] {
        front[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
    }
    let pointer = upper as u32 | 1 << 15 | (tuple_bytes as u32) << 17;
    front[24..28].copy_from_slice(&pointer.to_le_bytes());
    let mut back = vec![0u8; BLCKSZ - upper];
    back[..4].copy_from_slice(&XID.to_le_bytes());
    back[16] = 1;
    back[18] = 2;
    back[21] = 8;
    back[22] = HEADER_BYTES as u8;
    let image_bytes = front.len() + back.len();
    let mut body = vec![0, HAS_IMAGE, 0, 0];
    body.extend((image_bytes as u16).to_le_bytes());
    body.extend((lower as u16).to_le_bytes());
    body.push(IMAGE_HAS_HOLE | IMAGE_APPLY);
    put_rel(&mut body, tag);
    put_main(&mut body, 3);
    body.extend(front);
    body.extend(back);
    body.extend([1, 0, 0]);
    RawRecord { xid: XID, info: 0, rmid: HEAP, body }
}

/// INPLACE: the user data of the first tuple are overwritten.
fn overwrite_in_place(tag: PageTag) -> RawRecord {
    let data = [0x5A; 180 - HEADER_BYTES];
    let mut body = vec![0, HAS_DATA];
    body.extend((data.len() as u16).to_le_bytes());
    put_rel(&mut body, tag);
    put_main(&mut body, 2);
    body.extend(data);
    body.extend([1, 0]);
    RawRecord { xid: XID, info: 0x70, rmid: HEAP, body }
}

/// VISIBLE, with the map's page as an image.
fn visible(tag: PageTag) -> RawRecord {
    let mut map = vec![0u8; BLCKSZ];
    for (at, value) in [(12, 24u16), (14, BLCKSZ as u16), (16, BLCKSZ as u16), (18, 0x2004)] {
        map[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    map[24] = 1;
    let mut body = vec![0, ForkNumber::VisibilityMap as u8 | HAS_IMAGE, 0, 0];
    body.extend((BLCKSZ as u16).to_le_bytes());
    body.extend([0, 0, IMAGE_APPLY]);
    put_rel(&mut body, tag);
    body.extend([1, SAME_REL, 0, 0]);
    body.extend(tag.block.to_le_bytes());
    put_main(&mut body, 5);
    body.extend(map);
    body.extend(0u32.to_le_bytes());
    body.push(1);
    RawRecord { xid: 0, info: 0x40, rmid: HEAP2, body }
}

fn chain(tag: PageTag, records: impl IntoIterator<Item = RawRecord>) -> Chain {
    let mut end = Lsn(FIRST_LSN);
    let mut chained = Vec::new();
    for record in records {
        let raw = record.to_bytes(end);
        end = (end + raw.len() as u64).align();
        chained.push((end, Bytes::from(raw)));
    }
    Chain { tag, records: chained }
}

/// One insertion with the image of its page, then an in-place update.
pub fn short() -> Chain {
    let tag = tag(1259);
    chain(tag, [insert_with_image(tag), overwrite_in_place(tag)])
}

/// 226 insertions that fill a page, then the page becomes all-visible.
pub fn medium() -> Chain {
    let tag = tag(16384);
    chain(tag, (1..=226).map(|offset| insert(tag, offset)).chain([visible(tag)]))
}
