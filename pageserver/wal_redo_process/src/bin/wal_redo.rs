//! `wal_redo`: applies WAL records to pages in a process of its own.
//!
//! Reads requests from standard input and writes pages to standard output until the input ends.
//! It takes the arguments that a PostgreSQL with a redo mode takes, so that a pageserver can
//! start it in its place. A recorded request can be replayed: `wal_redo --wal-redo
//! --pg-version 15 < file > page`.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;
use nix::libc::{STDIN_FILENO, STDOUT_FILENO};
use postgres_ffi::PgMajor;
use wal_redo_process::{sandbox, server};

#[derive(Parser)]
#[command(name = "wal_redo", version, about)]
struct Arguments {
    /// Says that the process is to redo WAL. There is nothing else that it does.
    #[arg(long)]
    wal_redo: bool,
    /// The tenant shard whose pages they are; only shown in the process list.
    #[arg(long)]
    tenant_shard_id: Option<String>,
    /// Major version of PostgreSQL that wrote the WAL: 15, 16, 17 or 18. Without it, the program's
    /// path must have a directory such as v15.
    #[arg(long)]
    pg_version: Option<u32>,
    /// Leaves all system calls allowed.
    #[arg(long)]
    disable_seccomp: bool,
}

fn main() {
    let status = match run() {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("FATAL: {failure:#}");
            1
        }
    };
    sandbox::exit(status);
}

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    let major = match arguments.pg_version {
        Some(version) => PgMajor::try_from(version).context("--pg-version")?,
        None => major_of_path().context(
            "which PostgreSQL wrote the WAL? give --pg-version, or start the program by a path with \
             a directory such as v15",
        )?,
    };
    if !arguments.disable_seccomp {
        sandbox::enter().context("entering the sandbox; --disable-seccomp goes without")?;
    }
    // SAFETY: both descriptors are open for as long as the process lives, and are never closed.
    let (input, output) = unsafe {
        let input = ManuallyDrop::new(File::from_raw_fd(STDIN_FILENO));
        (input, ManuallyDrop::new(File::from_raw_fd(STDOUT_FILENO)))
    };
    Ok(server::serve(&*input, &*output, major)?)
}

/// The version in the path that the program was started by.
fn major_of_path() -> Option<PgMajor> {
    let path = std::env::args_os().next()?;
    let number = |name: &str| name.strip_prefix('v')?.parse::<u32>().ok();
    Path::new(&path)
        .components()
        .rev()
        .filter_map(|component| number(component.as_os_str().to_str()?))
        .find_map(|version| PgMajor::try_from(version).ok())
}
