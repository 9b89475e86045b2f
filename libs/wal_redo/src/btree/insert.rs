//! Insertion of one tuple, plain or into the middle of a posting list.

use super::tuple::Posting;
use crate::error::RedoFailure;
use crate::page::Page;
use crate::target::Target;

pub(super) fn insert(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let offset = target.main_data().u16("item number")?;
    page.insert_item(offset, target.block_data().rest())
}

/// INSERT_POST: the new tuple's heap pointer falls inside the posting list before it, so the
/// two exchange pointers.
pub(super) fn insert_into_posting(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let offset = target.main_data().u16("item number")?;
    let mut data = target.block_data();
    let position = data.u16("posting position")?;
    let mut new = data.rest().to_vec();
    let (at, length) = page.stored_item(offset.saturating_sub(1))?;
    let mut posting = Posting::parse_list(page.slice(at, length)?)?;
    posting.swap(&mut new, position)?;
    let bytes = posting.to_bytes()?;
    if bytes.len() != length {
        return Err(RedoFailure::BadPage("a posting tuple has padding of its own"));
    }
    page.put(at, &bytes)?;
    page.insert_item(offset, &new)
}
