//! The header every data page begins with, and the page checksum.
//!
//! Layout: 8-byte LSN (high half first), checksum u16 @8, flags @10, lower @12, upper @14.
//! SLRU pages have no such header.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use utils::Lsn;

use crate::{BLCKSZ, BlockNumber};

/// One data page.
pub type Page = [u8; BLCKSZ];

/// The page's LSN. It is stored as two 32-bit halves, the high one first.
pub fn page_lsn(page: &Page) -> Lsn {
    Lsn(u64::from(u32_at(page, 0)) << 32 | u64::from(u32_at(page, 4)))
}

/// Stores the page's LSN.
pub fn set_page_lsn(page: &mut Page, lsn: Lsn) {
    let high = ((lsn.0 >> 32) as u32).to_le_bytes();
    let low = (lsn.0 as u32).to_le_bytes();
    let halves = high.into_iter().chain(low);
    page.iter_mut().zip(halves).for_each(|(byte, new)| *byte = new);
}

/// Whether the page was never initialised: its `pd_upper` is 0.
pub fn page_is_new(page: &Page) -> bool {
    u16_at(page, 14) == 0
}

/// The stored checksum, meaningful in clusters with data checksums only.
pub fn stored_checksum(page: &Page) -> u16 {
    u16_at(page, 8)
}

/// Stores the checksum computed for this page at this block number.
pub fn set_checksum(page: &mut Page, block: BlockNumber) {
    let sum = checksum(page, block).to_le_bytes();
    page.iter_mut().skip(8).zip(sum).for_each(|(byte, new)| *byte = new);
}

const LANES: usize = 32;
const FNV_PRIME: u32 = 16_777_619;

/// Initial values of the 32 hash lanes.
const LANE_INIT: [u32; LANES] = [
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
];

/// The checksum PostgreSQL stores in a page of this content at this block number.
pub fn checksum(page: &Page, block: BlockNumber) -> u16 {
    let mut lanes = LANE_INIT;
    for (row_number, row) in page.chunks_exact(4 * LANES).enumerate() {
        for (lane_number, (lane, word)) in lanes.iter_mut().zip(row.chunks_exact(4)).enumerate() {
            let mut value = word.iter().rev().fold(0u32, |acc, byte| acc << 8 | u32::from(*byte));
            if row_number == 0 && lane_number == 2 {
                // The checksum's own two bytes count as zero.
                value &= 0xFFFF_0000;
            }
            *lane = mix(*lane, value);
        }
    }
    for _ in 0..2 {
        lanes.iter_mut().for_each(|lane| *lane = mix(*lane, 0));
    }
    let folded = lanes.iter().fold(block, |acc, lane| acc ^ lane);
    (folded % 65_535) as u16 + 1
}

fn mix(lane: u32, value: u32) -> u32 {
    let mixed = lane ^ value;
    mixed.wrapping_mul(FNV_PRIME) ^ (mixed >> 17)
}

fn u16_at(page: &Page, offset: usize) -> u16 {
    page.iter().skip(offset).take(2).rev().fold(0, |acc, byte| acc << 8 | u16::from(*byte))
}

fn u32_at(page: &Page, offset: usize) -> u32 {
    page.iter().skip(offset).take(4).rev().fold(0, |acc, byte| acc << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests;
