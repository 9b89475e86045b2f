//! What must hold in every state.

use utils::Lsn;

use super::world::{ModelAcceptor, World};
use super::{ACCEPTORS, QUORUM};
use crate::storage::WalStorage;
use crate::term_history::Term;

/// Terms and commit positions of a running acceptor never go back.
pub(super) fn only_grew(before: &ModelAcceptor, after: &ModelAcceptor) -> Result<(), String> {
    let commit_lsn = |acceptor: &ModelAcceptor| acceptor.state().memory.commit_lsn;
    if after.term() < before.term() {
        return Err(format!("term {} was forgotten", before.term()));
    }
    if commit_lsn(after) < commit_lsn(before) {
        return Err(format!("commit {} was forgotten", commit_lsn(before)));
    }
    Ok(())
}

/// Everything that can be said of one state.
pub(super) fn state(world: &World) -> Result<(), String> {
    for (number, acceptor) in world.acceptors.iter().enumerate() {
        positions(world, acceptor).map_err(|what| format!("acceptor {number}: {what}"))?;
    }
    durability(world)?;
    completeness(world)
}

fn positions(world: &World, acceptor: &ModelAcceptor) -> Result<(), String> {
    let (wal, commit_lsn) = (acceptor.wal(), acceptor.state().memory.commit_lsn);
    let committed_lsn = world.ghost.committed_lsn();
    if commit_lsn > committed_lsn {
        return Err(format!("has commit {commit_lsn}, committed is {committed_lsn}"));
    }
    if commit_lsn > acceptor.flush_lsn() {
        return Err(format!("commit {commit_lsn} is ahead of the log"));
    }
    if wal.flush_record_lsn() > wal.write_lsn() {
        return Err("has flushed more than it has written".to_owned());
    }
    Ok(())
}

/// Committed WAL is durable on a quorum.
fn durability(world: &World) -> Result<(), String> {
    let committed = &world.ghost.committed;
    let holds = |acceptor: &&ModelAcceptor| acceptor.wal().durable().starts_with(committed);
    let holders = world.acceptors.iter().filter(holds).count();
    match holders >= QUORUM {
        true => Ok(()),
        false => Err(format!(
            "only {holders} acceptors hold the committed WAL up to {}",
            world.ghost.committed_lsn()
        )),
    }
}

/// Whichever quorum elects the next leader, its donor has all that is committed, as it would
/// be found after a loss of power everywhere.
fn completeness(world: &World) -> Result<(), String> {
    for absent in 0..ACCEPTORS {
        let voters = (0..ACCEPTORS).filter(|number| *number != absent);
        let Some(donor) = voters.max_by_key(|number| newest(&world.acceptors[*number])) else {
            continue;
        };
        let log = world.acceptors[donor].wal().durable();
        if !log.starts_with(&world.ghost.committed) {
            return Err(format!(
                "without acceptor {absent} the next leader takes the log of acceptor {donor}, \
                 which lacks committed WAL below {}",
                world.ghost.committed_lsn()
            ));
        }
    }
    Ok(())
}

/// What an acceptor would stand for an election with after a restart.
fn newest(acceptor: &ModelAcceptor) -> (Term, Lsn) {
    let end = acceptor.wal().flush_record_lsn().max(acceptor.state().timeline_start_lsn);
    (acceptor.state().acceptor_state.term_history.up_to(end).last_term(), end)
}
