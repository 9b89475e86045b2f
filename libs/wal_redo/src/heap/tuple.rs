//! Members of a heap tuple header, and the changes that records make to them.

use crate::error::RedoFailure;
use crate::item_pointer::ItemPointer;
use crate::page::Page;

/// Length of the fixed header; the null bitmap follows.
pub(crate) const HEADER_BYTES: usize = 23;

pub(crate) const KEYS_UPDATED: u16 = 0x2000;
pub(crate) const HOT_UPDATED: u16 = 0x4000;

pub(crate) const XMAX_KEYSHR_LOCK: u16 = 0x0010;
pub(crate) const COMBO_CID: u16 = 0x0020;
pub(crate) const XMAX_EXCL_LOCK: u16 = 0x0040;
pub(crate) const XMAX_LOCK_ONLY: u16 = 0x0080;
pub(crate) const XMIN_FROZEN: u16 = 0x0300;
pub(crate) const XMAX_COMMITTED: u16 = 0x0400;
pub(crate) const XMAX_INVALID: u16 = 0x0800;
pub(crate) const XMAX_IS_MULTI: u16 = 0x1000;
/// Everything that describes xmax, and the bits of the old in-place VACUUM FULL.
const XMAX_AND_MOVED: u16 = 0x1CD0 | 0xC000;

const XMAX_AT: usize = 4;
const CID_AT: usize = 8;
const CTID_AT: usize = 12;
const INFOMASK2_AT: usize = 18;
const INFOMASK_AT: usize = 20;
const HOFF_AT: usize = 22;

/// The ctid that says "moved to another partition".
pub(crate) const MOVED_PARTITIONS: ItemPointer = ItemPointer { block: u32::MAX, offset: 0xFFFD };

/// A heap tuple on the page, found through its line pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeapTuple {
    /// Where its header begins.
    pub at: usize,
    /// Its whole length.
    pub length: usize,
}

impl HeapTuple {
    /// The tuple of a normal line pointer.
    pub(crate) fn find(page: &Page, offset: u16) -> Result<Self, RedoFailure> {
        let (at, length) = page.normal_item(offset)?;
        if length < HEADER_BYTES {
            return Err(RedoFailure::BadItem { offset, problem: "is too short for a tuple" });
        }
        Ok(HeapTuple { at, length })
    }

    pub(crate) fn set_xmin(self, page: &mut Page, xid: u32) -> Result<(), RedoFailure> {
        page.set_u32(self.at, xid)
    }

    pub(crate) fn set_xmax(self, page: &mut Page, xid: u32) -> Result<(), RedoFailure> {
        page.set_u32(self.at + XMAX_AT, xid)
    }

    /// Stores the first command id as cmax.
    pub(crate) fn reset_cmax(self, page: &mut Page) -> Result<(), RedoFailure> {
        page.set_u32(self.at + CID_AT, 0)?;
        self.change_infomask(page, 0, COMBO_CID)
    }

    /// Stores t_xvac, which shares its place with the command id.
    pub(crate) fn set_xvac(self, page: &mut Page, xid: u32) -> Result<(), RedoFailure> {
        page.set_u32(self.at + CID_AT, xid)
    }

    pub(crate) fn ctid(self, page: &Page) -> Result<ItemPointer, RedoFailure> {
        page.item_pointer(self.at + CTID_AT)
    }

    pub(crate) fn set_ctid(self, page: &mut Page, ctid: ItemPointer) -> Result<(), RedoFailure> {
        page.set_item_pointer(self.at + CTID_AT, ctid)
    }

    pub(crate) fn infomask(self, page: &Page) -> Result<u16, RedoFailure> {
        page.u16(self.at + INFOMASK_AT)
    }

    pub(crate) fn set_infomask(self, page: &mut Page, bits: u16) -> Result<(), RedoFailure> {
        page.set_u16(self.at + INFOMASK_AT, bits)
    }

    pub(crate) fn change_infomask(
        self,
        page: &mut Page,
        set: u16,
        clear: u16,
    ) -> Result<(), RedoFailure> {
        let bits = self.infomask(page)?;
        self.set_infomask(page, bits & !clear | set)
    }

    pub(crate) fn set_infomask2(self, page: &mut Page, bits: u16) -> Result<(), RedoFailure> {
        page.set_u16(self.at + INFOMASK2_AT, bits)
    }

    pub(crate) fn change_infomask2(
        self,
        page: &mut Page,
        set: u16,
        clear: u16,
    ) -> Result<(), RedoFailure> {
        let bits = page.u16(self.at + INFOMASK2_AT)?;
        self.set_infomask2(page, bits & !clear | set)
    }

    /// Where the user data begin, within the tuple.
    pub(crate) fn header_length(self, page: &Page) -> Result<usize, RedoFailure> {
        page.u8(self.at + HOFF_AT).map(usize::from)
    }

    /// Forgets everything about xmax, then applies a record's `infobits_set`.
    pub(crate) fn replace_lock_bits(
        self,
        page: &mut Page,
        infobits: u8,
    ) -> Result<(), RedoFailure> {
        let mut set = 0;
        for (bit, mask) in [
            (0x01, XMAX_IS_MULTI),
            (0x02, XMAX_LOCK_ONLY),
            (0x04, XMAX_EXCL_LOCK),
            (0x08, XMAX_KEYSHR_LOCK),
        ] {
            if infobits & bit != 0 {
                set |= mask;
            }
        }
        let set2 = if infobits & 0x10 != 0 { KEYS_UPDATED } else { 0 };
        self.change_infomask(page, set, XMAX_AND_MOVED)?;
        self.change_infomask2(page, set2, KEYS_UPDATED)
    }

    /// Whether xmax only locks the tuple.
    pub(crate) fn is_locked_only(self, page: &Page) -> Result<bool, RedoFailure> {
        let infomask = self.infomask(page)?;
        let lock_bits = infomask & (XMAX_IS_MULTI | XMAX_EXCL_LOCK | XMAX_KEYSHR_LOCK);
        Ok(infomask & XMAX_LOCK_ONLY != 0 || lock_bits == XMAX_EXCL_LOCK)
    }
}

/// The part of a tuple header that records carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoggedHeader {
    pub infomask2: u16,
    pub infomask: u16,
    pub header_length: u8,
}

/// The fixed header of a new tuple.
pub(crate) fn new_header(
    header: LoggedHeader,
    xmin: u32,
    xmax: u32,
    ctid: ItemPointer,
) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    // The command id between them is not in the log.
    let parts: [(usize, &[u8]); 5] = [
        (0, &xmin.to_le_bytes()),
        (4, &xmax.to_le_bytes()),
        (12, &ctid.to_bytes()),
        (18, &header.infomask2.to_le_bytes()),
        (20, &header.infomask.to_le_bytes()),
    ];
    for (at, part) in parts {
        if let Some(place) = bytes.get_mut(at..at + part.len()) {
            place.copy_from_slice(part);
        }
    }
    if let Some(last) = bytes.last_mut() {
        *last = header.header_length;
    }
    bytes
}

/// Remembers that pruning may pay off once `xid` is old: the oldest such transaction wins.
pub(crate) fn set_prunable(page: &mut Page, xid: u32) -> Result<(), RedoFailure> {
    let current = page.prune_xid()?;
    if current == 0 || precedes(xid, current) { page.set_prune_xid(xid) } else { Ok(()) }
}

/// Circular comparison of transaction ids; the special ids 0 to 2 compare as numbers.
fn precedes(a: u32, b: u32) -> bool {
    if a <= 2 || b <= 2 { a < b } else { (a.wrapping_sub(b) as i32) < 0 }
}
