//! Storage keys: 18 bytes that name a page, a size, a directory or another piece of a timeline.
//!
//! Layout and numbering: docs/formats/keys.md.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use postgres_ffi::{BlockNumber, ForkNumber, Oid, RelTag, SlruKind};

/// Length of a serialised key in bytes.
pub const KEY_SIZE: usize = 18;

/// A storage key. Field order is sort order; every field is big-endian when serialised.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Kind of object.
    pub field1: u8,
    /// Tablespace, or SLRU kind.
    pub field2: u32,
    /// Database.
    pub field3: u32,
    /// Relation, or SLRU segment.
    pub field4: u32,
    /// Fork.
    pub field5: u8,
    /// Block, or the number that marks a size.
    pub field6: u32,
}

/// `field6` of keys that hold a size in blocks.
const SIZE_MARK: u32 = 0xFFFF_FFFF;

/// The text was not 36 hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid key {0:?}: expected 36 hexadecimal digits")]
pub struct KeyParseError(pub String);

impl Ord for Key {
    /// As the fields in order. Layers are trees of keys, most of which differ only in the last
    /// field: two numbers are compared instead of six.
    fn cmp(&self, other: &Self) -> Ordering {
        self.all_but_last().cmp(&other.all_but_last()).then(self.field6.cmp(&other.field6))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    fn all_but_last(&self) -> u128 {
        u128::from(self.field1) << 104
            | u128::from(self.field2) << 72
            | u128::from(self.field3) << 40
            | u128::from(self.field4) << 8
            | u128::from(self.field5)
    }

    /// The smallest key.
    pub const MIN: Key = Key::new(0, 0, 0, 0, 0, 0);
    /// The greatest key.
    pub const MAX: Key = Key::new(u8::MAX, u32::MAX, u32::MAX, u32::MAX, u8::MAX, u32::MAX);
    /// The directory of databases.
    pub const DB_DIR: Key = Key::new(0, 0, 0, 0, 0, 0);
    /// The directory of prepared transactions.
    pub const TWO_PHASE_DIR: Key = Key::new(2, 0, 0, 0, 0, 0);
    /// The control file.
    pub const CONTROL_FILE: Key = Key::new(3, 0, 0, 0, 0, 0);
    /// The tracked checkpoint.
    pub const CHECKPOINT: Key = Key::new(3, 0, 0, 0, 0, 1);
    /// Auxiliary files, version 1 encoding.
    pub const AUX_FILES_V1: Key = Key::new(3, 0, 0, 0, 0, 2);
    /// Keys of sparse metadata, which branches do not inherit.
    pub const METADATA_RANGE: Range<Key> =
        Key::new(0x60, 0, 0, 0, 0, 0)..Key::new(0x7F, 0, 0, 0, 0, 0);
    /// Keys of auxiliary files, version 2 encoding.
    pub const AUX_FILES_V2_RANGE: Range<Key> =
        Key::new(0x62, 0, 0, 0, 0, 0)..Key::new(0x63, 0, 0, 0, 0, 0);
    /// Keys of replication origins.
    pub const REPL_ORIGIN_RANGE: Range<Key> =
        Key::new(0x63, 0, 0, 0, 0, 0)..Key::new(0x63, 0, 0, 0, 0, 0x1_0000);

    /// Assembles a key from its fields.
    pub const fn new(
        field1: u8,
        field2: u32,
        field3: u32,
        field4: u32,
        field5: u8,
        field6: u32,
    ) -> Key {
        Key { field1, field2, field3, field4, field5, field6 }
    }

    /// The relation map file of a database.
    pub const fn relmap(spcnode: Oid, dbnode: Oid) -> Key {
        Key::new(0, spcnode, dbnode, 0, 0, 0)
    }

    /// The directory of a database's relations.
    pub const fn rel_dir(spcnode: Oid, dbnode: Oid) -> Key {
        Key::new(0, spcnode, dbnode, 0, 0, 1)
    }

    /// One block of a relation.
    pub const fn rel_block(rel: RelTag, block: BlockNumber) -> Key {
        Key::new(0, rel.spcnode, rel.dbnode, rel.relnode, rel.fork as u8, block)
    }

    /// The size of a relation fork.
    pub const fn rel_size(rel: RelTag) -> Key {
        Key::rel_block(rel, SIZE_MARK)
    }

    /// Every key of one relation fork.
    pub const fn rel_range(rel: RelTag) -> Range<Key> {
        Key::rel_block(rel, 0)
            ..Key::new(0, rel.spcnode, rel.dbnode, rel.relnode, rel.fork as u8 + 1, 0)
    }

    /// Every key of one database.
    pub const fn db_range(spcnode: Oid, dbnode: Oid) -> Range<Key> {
        Key::new(0, spcnode, dbnode, 0, 0, 0)
            ..Key::new(0, spcnode, dbnode, u32::MAX, u8::MAX, u32::MAX)
    }

    /// The directory of an SLRU's segments.
    pub const fn slru_dir(kind: SlruKind) -> Key {
        Key::new(1, kind as u32, 0, 0, 0, 0)
    }

    /// One block of an SLRU segment.
    pub const fn slru_block(kind: SlruKind, segment: u32, block: BlockNumber) -> Key {
        Key::new(1, kind as u32, 1, segment, 0, block)
    }

    /// The size of an SLRU segment.
    pub const fn slru_segment_size(kind: SlruKind, segment: u32) -> Key {
        Key::slru_block(kind, segment, SIZE_MARK)
    }

    /// Every key of one SLRU segment.
    pub const fn slru_segment_range(kind: SlruKind, segment: u32) -> Range<Key> {
        Key::slru_block(kind, segment, 0)..Key::new(1, kind as u32, 1, segment, 1, 0)
    }

    /// The state file of a prepared transaction.
    pub const fn two_phase_file(xid: u32) -> Key {
        Key::new(2, 0, 0, 0, 0, xid)
    }

    /// The progress of a replication origin.
    pub const fn repl_origin(origin: u16) -> Key {
        Key::new(0x63, 0, 0, 0, 0, origin as u32)
    }

    /// Whether this names a relation block.
    pub const fn is_rel_block(&self) -> bool {
        self.field1 == 0 && self.field4 != 0 && self.field6 != SIZE_MARK
    }

    /// Whether this names a relation's size.
    pub const fn is_rel_size(&self) -> bool {
        self.field1 == 0 && self.field6 == SIZE_MARK
    }

    /// Whether this names an SLRU block.
    pub const fn is_slru_block(&self) -> bool {
        self.field1 == 1 && self.field3 == 1 && self.field6 != SIZE_MARK
    }

    /// Whether this lies in the sparse metadata range.
    pub const fn is_metadata(&self) -> bool {
        self.field1 >= 0x60 && self.field1 < 0x7F
    }

    /// Whether a branch sees its ancestor's value of this key.
    pub fn is_inherited(&self) -> bool {
        *self != Key::AUX_FILES_V1 && !self.is_metadata()
    }

    /// The relation and block, if this names a relation block.
    pub fn to_rel_block(&self) -> Option<(RelTag, BlockNumber)> {
        if !self.is_rel_block() {
            return None;
        }
        let fork = ForkNumber::from_u8(self.field5)?;
        let rel = RelTag { spcnode: self.field2, dbnode: self.field3, relnode: self.field4, fork };
        Some((rel, self.field6))
    }

    /// The SLRU kind, segment and block, if this names an SLRU block.
    pub fn to_slru_block(&self) -> Option<(SlruKind, u32, BlockNumber)> {
        if !self.is_slru_block() {
            return None;
        }
        let kind = SlruKind::from_u8(u8::try_from(self.field2).ok()?)?;
        Some((kind, self.field4, self.field6))
    }

    /// The key after this one.
    ///
    /// # Panics
    /// When called on [`Key::MAX`].
    pub fn next(&self) -> Key {
        let mut bytes = self.to_bytes();
        for byte in bytes.iter_mut().rev() {
            let (value, overflow) = byte.overflowing_add(1);
            *byte = value;
            if !overflow {
                return Key::from_bytes(&bytes);
            }
        }
        panic!("there is no key after Key::MAX");
    }

    /// The sort-order-preserving 16-byte form. Defined for keys whose `field2` fits 16 bits
    /// (or is one of the two marks) and whose `field1` fits 7 bits.
    pub const fn to_i128(&self) -> i128 {
        ((self.field1 & 0x7F) as i128) << 120
            | ((self.field2 & 0xFFFF) as i128) << 104
            | (self.field3 as i128) << 72
            | (self.field4 as i128) << 40
            | (self.field5 as i128) << 32
            | self.field6 as i128
    }

    /// The inverse of [`Key::to_i128`].
    pub const fn from_i128(value: i128) -> Key {
        Key {
            field1: ((value >> 120) & 0x7F) as u8,
            field2: ((value >> 104) & 0xFFFF) as u32,
            field3: (value >> 72) as u32,
            field4: (value >> 40) as u32,
            field5: (value >> 32) as u8,
            field6: value as u32,
        }
    }

    /// Serialises the fields, big-endian.
    pub fn to_bytes(&self) -> [u8; KEY_SIZE] {
        let mut bytes = [0; KEY_SIZE];
        bytes[0] = self.field1;
        bytes[1..5].copy_from_slice(&self.field2.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.field3.to_be_bytes());
        bytes[9..13].copy_from_slice(&self.field4.to_be_bytes());
        bytes[13] = self.field5;
        bytes[14..18].copy_from_slice(&self.field6.to_be_bytes());
        bytes
    }

    /// Reads a serialised key.
    pub fn from_bytes(bytes: &[u8; KEY_SIZE]) -> Key {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Key::new(bytes[0], word(1), word(5), word(9), bytes[13], word(14))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { field1, field2, field3, field4, field5, field6 } = self;
        write!(f, "{field1:02X}{field2:08X}{field3:08X}{field4:08X}{field5:02X}{field6:08X}")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Key {
    type Err = KeyParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; KEY_SIZE];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyParseError(text.to_owned()))?;
        Ok(Key::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests;
