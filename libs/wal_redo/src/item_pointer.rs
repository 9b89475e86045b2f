//! The six bytes that name a tuple: its block, high half first, and its offset.

use crate::error::RedoFailure;
use crate::page::Page;
use crate::reader::Reader;

/// Length of a stored item pointer.
pub(crate) const ITEM_POINTER_BYTES: usize = 6;

/// Where a tuple lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ItemPointer {
    pub block: u32,
    pub offset: u16,
}

impl ItemPointer {
    pub(crate) fn to_bytes(self) -> [u8; ITEM_POINTER_BYTES] {
        let [low0, low1, high0, high1] = self.block.to_le_bytes();
        let [offset0, offset1] = self.offset.to_le_bytes();
        [high0, high1, low0, low1, offset0, offset1]
    }

    pub(crate) fn from_bytes(bytes: [u8; ITEM_POINTER_BYTES]) -> Self {
        let [high0, high1, low0, low1, offset0, offset1] = bytes;
        ItemPointer {
            block: u32::from_le_bytes([low0, low1, high0, high1]),
            offset: u16::from_le_bytes([offset0, offset1]),
        }
    }

    /// Reads the pointer at the front of a slice.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, RedoFailure> {
        let bytes = Reader::new(bytes).take(ITEM_POINTER_BYTES, "item pointer")?;
        let bytes = bytes
            .try_into()
            .map_err(|_| RedoFailure::Truncated { what: "item pointer", needed: 1 })?;
        Ok(Self::from_bytes(bytes))
    }
}

impl Page<'_> {
    pub(crate) fn item_pointer(&self, at: usize) -> Result<ItemPointer, RedoFailure> {
        ItemPointer::read(self.slice(at, ITEM_POINTER_BYTES)?)
    }

    pub(crate) fn set_item_pointer(
        &mut self,
        at: usize,
        pointer: ItemPointer,
    ) -> Result<(), RedoFailure> {
        self.put(at, &pointer.to_bytes())
    }
}
