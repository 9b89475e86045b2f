//! VACUUM of SP-GiST pages.

use super::tuple::{self, DeadState, KillAs};
use super::{PLACEHOLDERS_AT, REDIRECTIONS_AT, Writer, change_count, has_catalog_flag};
use crate::error::RedoFailure;
use crate::page::Page;
use crate::target::Target;

const ALL_DEAD: KillAs = KillAs { first: DeadState::Dead, rest: DeadState::Dead };
const ALL_PLACEHOLDERS: KillAs =
    KillAs { first: DeadState::Placeholder, rest: DeadState::Placeholder };

pub(super) fn leaf(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let dead = usize::from(main.u16("dead item count")?);
    let placeholders = usize::from(main.u16("placeholder count")?);
    let moves = usize::from(main.u16("move count")?);
    let chains = usize::from(main.u16("chain count")?);
    Writer::read(&mut main)?;
    let dead = main.u16_list(dead, "dead items")?;
    let placeholders = main.u16_list(placeholders, "placeholders")?;
    let move_from = main.u16_list(moves, "moved items")?;
    let move_to = main.u16_list(moves, "move targets")?;
    let chain_from = main.u16_list(chains, "chained items")?;
    let chain_to = main.u16_list(chains, "chain targets")?;

    tuple::kill(page, &dead, ALL_DEAD)?;
    tuple::kill(page, &placeholders, ALL_PLACEHOLDERS)?;
    for (from, to) in move_from.iter().zip(&move_to) {
        let (source, destination) = (page.line_pointer(*from)?, page.line_pointer(*to)?);
        page.set_line_pointer(*from, destination)?;
        page.set_line_pointer(*to, source)?;
    }
    tuple::kill(page, &move_from, ALL_PLACEHOLDERS)?;
    for (from, to) in chain_from.into_iter().zip(chain_to) {
        tuple::set_next_offset(page, from, to)?;
    }
    Ok(())
}

pub(super) fn root(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let count = main.u16("deleted item count")?;
    Writer::read(&mut main)?;
    page.delete_index_items(&main.u16_list(usize::from(count), "deleted items")?)
}

pub(super) fn redirect(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let count = main.u16("redirect count")?;
    let first_placeholder = main.u16("first placeholder")?;
    main.skip(4, "conflict horizon")?;
    if has_catalog_flag(target.major) {
        main.skip(1, "catalog flag")?;
        main.align(2);
    }
    for offset in main.u16_list(usize::from(count), "redirects")? {
        tuple::forget_redirect(page, offset)?;
    }
    change_count(page, REDIRECTIONS_AT, -i32::from(count))?;
    change_count(page, PLACEHOLDERS_AT, i32::from(count))?;
    if first_placeholder != 0 {
        let freed: Vec<u16> = (first_placeholder..=page.max_offset()?).collect();
        change_count(page, PLACEHOLDERS_AT, -(freed.len() as i32))?;
        page.delete_index_items(&freed)?;
    }
    Ok(())
}
