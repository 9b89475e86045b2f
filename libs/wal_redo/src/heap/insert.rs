//! INSERT and MULTI_INSERT.

use super::init_if_asked;
use super::tuple::{self, LoggedHeader};
use crate::error::RedoFailure;
use crate::item_pointer::ItemPointer;
use crate::page::{ALL_VISIBLE, Page};
use crate::reader::Reader;
use crate::target::{Stamp, Target};

const ALL_VISIBLE_CLEARED: u8 = 0x01;
const ALL_FROZEN_SET: u8 = 0x20;

impl LoggedHeader {
    pub(super) fn read(data: &mut Reader) -> Result<Self, RedoFailure> {
        Ok(LoggedHeader {
            infomask2: data.u16("tuple infomask2")?,
            infomask: data.u16("tuple infomask")?,
            header_length: data.u8("tuple header length")?,
        })
    }
}

/// One new tuple.
pub(super) fn insert(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let mut main = target.main_data();
    let offset = main.u16("tuple number")?;
    let flags = main.u8("insert flags")?;
    init_if_asked(page, target)?;
    let mut data = target.block_data();
    let header = LoggedHeader::read(&mut data)?;
    add_tuple(page, target, offset, header, data.rest())?;
    if flags & ALL_VISIBLE_CLEARED != 0 {
        page.change_flags(0, ALL_VISIBLE)?;
    }
    Ok(Stamp::EndLsn)
}

/// Many new tuples on one page.
pub(super) fn multi_insert(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let mut main = target.main_data();
    let flags = main.u8("multi-insert flags")?;
    main.align(2);
    let count = main.u16("tuple count")?;
    let offsets = if init_if_asked(page, target)? {
        (1..=count).collect()
    } else {
        main.u16_list(usize::from(count), "tuple numbers")?
    };
    let mut data = target.block_data();
    for offset in offsets {
        data.align(2);
        let length = data.u16("tuple length")?;
        let header = LoggedHeader::read(&mut data)?;
        let body = data.take(usize::from(length), "tuple body")?;
        add_tuple(page, target, offset, header, body)?;
    }
    data.finish()?;
    if flags & ALL_VISIBLE_CLEARED != 0 {
        page.change_flags(0, ALL_VISIBLE)?;
    }
    if flags & ALL_FROZEN_SET != 0 {
        page.change_flags(ALL_VISIBLE, 0)?;
    }
    Ok(Stamp::EndLsn)
}

fn add_tuple(
    page: &mut Page,
    target: &Target,
    offset: u16,
    header: LoggedHeader,
    body: &[u8],
) -> Result<(), RedoFailure> {
    let own = ItemPointer { block: target.reference.block, offset };
    let fixed = tuple::new_header(header, target.record.xid, 0, own);
    page.put_heap_item(offset, &[&fixed, body])
}
