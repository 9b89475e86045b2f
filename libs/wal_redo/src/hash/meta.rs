//! The meta page of a hash index, and the bitmaps of its overflow pages.

use super::{BITMAP, META, NONE, init as init_page};
use crate::error::RedoFailure;
use crate::page::{HEADER_BYTES, Page};
use crate::target::Target;

const MAGIC: u32 = 0x0644_0640;
const VERSION: u32 = 4;
const BUCKET_SIZE_BYTES: u16 = 8152;
const BITMAP_SIZE_BYTES: u16 = 4096;
const BITMAP_SHIFT: u16 = 15;
const LOWER: usize = HEADER_BYTES + 4544;
const MAX_BUCKETS: f64 = 1_073_741_824.0;

const TUPLES_AT: usize = HEADER_BYTES + 8;
const MAX_BUCKET_AT: usize = HEADER_BYTES + 24;
const HIGH_MASK_AT: usize = HEADER_BYTES + 28;
const LOW_MASK_AT: usize = HEADER_BYTES + 32;
const OVERFLOW_POINT_AT: usize = HEADER_BYTES + 36;
const FIRST_FREE_AT: usize = HEADER_BYTES + 40;
const MAPS_AT: usize = HEADER_BYTES + 44;
const PROCEDURE_AT: usize = HEADER_BYTES + 48;
const SPARES_AT: usize = HEADER_BYTES + 52;
const SPARES: u32 = 98;
const MAP_BLOCKS_AT: usize = HEADER_BYTES + 444;
const MAX_MAPS: u32 = 1024;

/// Up to here split points have one phase, from here on four.
const ONE_PHASE_GROUPS: u32 = 10;

/// The split point at which bucket number `buckets` is made.
fn split_point(buckets: u32) -> u32 {
    let group = buckets.next_power_of_two().trailing_zeros();
    if group < ONE_PHASE_GROUPS {
        return group;
    }
    let phase = (buckets.saturating_sub(1) >> (group - 3)) & 3;
    ONE_PHASE_GROUPS + (group - ONE_PHASE_GROUPS) * 4 + phase
}

/// Buckets that exist once split point `point` is complete.
fn total_buckets(point: u32) -> u32 {
    if point < ONE_PHASE_GROUPS {
        return 1 << point;
    }
    let group = ONE_PHASE_GROUPS + (point - ONE_PHASE_GROUPS) / 4;
    let below = 1u32 << (group - 1);
    below + below / 4 * (((point - ONE_PHASE_GROUPS) & 3) + 1)
}

fn initial_buckets(tuples: f64, fill_factor: u16) -> u32 {
    let wanted = tuples / f64::from(fill_factor);
    if wanted <= 2.0 {
        2
    } else if wanted >= MAX_BUCKETS {
        MAX_BUCKETS as u32
    } else {
        total_buckets(split_point(wanted as u32))
    }
}

pub(super) fn init(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let tuples = f64::from_bits(main.u64("tuple count")?);
    let procedure = main.u32("hash procedure")?;
    let fill_factor = main.u16("fill factor")?;
    let buckets = initial_buckets(tuples, fill_factor);
    let point = split_point(buckets);
    let high_mask = (buckets + 1).next_power_of_two() - 1;
    init_page(page, NONE, NONE, META)?;
    page.set_u32(HEADER_BYTES, MAGIC)?;
    page.set_u32(HEADER_BYTES + 4, VERSION)?;
    page.set_u16(HEADER_BYTES + 16, fill_factor)?;
    page.set_u16(HEADER_BYTES + 18, BUCKET_SIZE_BYTES)?;
    page.set_u16(HEADER_BYTES + 20, BITMAP_SIZE_BYTES)?;
    page.set_u16(HEADER_BYTES + 22, BITMAP_SHIFT)?;
    page.set_u32(MAX_BUCKET_AT, buckets - 1)?;
    page.set_u32(HIGH_MASK_AT, high_mask)?;
    page.set_u32(LOW_MASK_AT, high_mask >> 1)?;
    page.set_u32(OVERFLOW_POINT_AT, point)?;
    page.set_u32(PROCEDURE_AT, procedure)?;
    set_spare(page, point, 1)?;
    page.set_lower(LOWER)
}

fn spare_at(point: u32) -> Result<usize, RedoFailure> {
    if point < SPARES {
        Ok(SPARES_AT + point as usize * 4)
    } else {
        Err(RedoFailure::BadPage("the split point is out of range"))
    }
}

fn set_spare(page: &mut Page, point: u32, pages: u32) -> Result<(), RedoFailure> {
    page.set_u32(spare_at(point)?, pages)
}

fn count_spare(page: &mut Page) -> Result<(), RedoFailure> {
    let point = page.u32(OVERFLOW_POINT_AT)?;
    let pages = page.u32(spare_at(point)?)?;
    set_spare(page, point, pages.wrapping_add(1))
}

pub(super) fn init_bitmap(page: &mut Page, size_bytes: u16) -> Result<(), RedoFailure> {
    init_page(page, NONE, NONE, BITMAP)?;
    let size = usize::from(size_bytes);
    let special = page.bounds()?.special;
    if HEADER_BYTES + size > special {
        return Err(RedoFailure::PageFull { length: size });
    }
    page.slice_mut(HEADER_BYTES, size)?.fill(0xFF);
    page.set_lower(HEADER_BYTES + size)
}

fn register_bitmap(page: &mut Page, block: u32) -> Result<(), RedoFailure> {
    let maps = page.u32(MAPS_AT)?;
    if maps >= MAX_MAPS {
        return Err(RedoFailure::BadPage("there are too many bitmap pages"));
    }
    page.set_u32(MAP_BLOCKS_AT + maps as usize * 4, block)?;
    page.set_u32(MAPS_AT, maps + 1)
}

/// The first bitmap page comes right after the initial buckets.
pub(super) fn register_first_bitmap(page: &mut Page) -> Result<(), RedoFailure> {
    let block = page.u32(MAX_BUCKET_AT)?.wrapping_add(2);
    register_bitmap(page, block)
}

pub(super) fn add_tuples(page: &mut Page, difference: f64) -> Result<(), RedoFailure> {
    let bits = u64::from(page.u32(TUPLES_AT + 4)?) << 32 | u64::from(page.u32(TUPLES_AT)?);
    page.set_u64(TUPLES_AT, (f64::from_bits(bits) + difference).to_bits())
}

pub(super) fn set_tuples(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    page.set_u64(TUPLES_AT, target.main_data().u64("tuple count")?)
}

pub(super) fn set_first_free(page: &mut Page, bit: u32) -> Result<(), RedoFailure> {
    page.set_u32(FIRST_FREE_AT, bit)
}

pub(super) fn add_overflow(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    set_first_free(page, target.block_data().u32("first free bit")?)?;
    let mut main = target.main_data();
    main.skip(2, "bitmap size")?;
    let reuses_page = main.u8("bitmap page found")? != 0;
    if reuses_page {
        return Ok(());
    }
    count_spare(page)?;
    if let Some(bitmap) = target.record.block_by_id(3) {
        register_bitmap(page, bitmap.block)?;
        count_spare(page)?;
    }
    Ok(())
}

pub(super) fn split(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    const UPDATES_MASKS: u8 = 0x01;
    const UPDATES_SPLIT_POINT: u8 = 0x02;
    let mut main = target.main_data();
    page.set_u32(MAX_BUCKET_AT, main.u32("new bucket")?)?;
    main.skip(4, "bucket flags")?;
    let flags = main.u8("split flags")?;
    let mut data = target.block_data();
    if flags & UPDATES_MASKS != 0 {
        page.set_u32(LOW_MASK_AT, data.u32("low mask")?)?;
        page.set_u32(HIGH_MASK_AT, data.u32("high mask")?)?;
    }
    if flags & UPDATES_SPLIT_POINT != 0 {
        let point = data.u32("split point")?;
        let pages = data.u32("pages of the split point")?;
        set_spare(page, point, pages)?;
        page.set_u32(OVERFLOW_POINT_AT, point)?;
    }
    Ok(())
}

/// The byte of a bit, which is on a page of 32-bit words, and its mask.
fn bit_place(bit: u32) -> Result<(usize, u8), RedoFailure> {
    let at = bit as usize / 8;
    if at < usize::from(BITMAP_SIZE_BYTES) {
        Ok((HEADER_BYTES + at, 1 << (bit % 8)))
    } else {
        Err(RedoFailure::BadRecord("the bit number is out of range"))
    }
}

pub(super) fn set_bit(page: &mut Page, bit: u32) -> Result<(), RedoFailure> {
    let (at, mask) = bit_place(bit)?;
    let byte = page.u8(at)?;
    page.set_u8(at, byte | mask)
}

pub(super) fn clear_bit(page: &mut Page, bit: u32) -> Result<(), RedoFailure> {
    let (at, mask) = bit_place(bit)?;
    let byte = page.u8(at)?;
    page.set_u8(at, byte & !mask)
}
