//! Confines the process to computing: after [`enter`] it can read, write, allocate and exit.
//!
//! WAL is made by users of the database. The engine is safe Rust, but decompressors are not, and a
//! custom engine may be anything. Every other system call traps, names itself on standard error
//! and ends the process.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// First descriptor that is none of the standard ones.
const FIRST_OTHER_DESCRIPTOR: libc::c_uint = 3;
/// Where `siginfo_t` of a trapped system call holds its number: after signal, error, code and
/// the address of the instruction.
const SYSCALL_NUMBER_AT: usize = 24;

/// Whether the filter is being tried out, and whether it caught the try.
static TRYING: AtomicBool = AtomicBool::new(false);
static CAUGHT: AtomicBool = AtomicBool::new(false);

/// Why the sandbox could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Descriptors that were inherited could not be closed.
    #[error("cannot close inherited file descriptors: {0}")]
    CloseDescriptors(io::Error),
    /// The handler of trapped system calls could not be installed.
    #[error("cannot install the handler of trapped system calls: {0}")]
    Handler(#[from] nix::Error),
    /// This architecture is not supported, or the filter is malformed.
    #[error("cannot build the system call filter: {0}")]
    Filter(#[from] seccompiler::BackendError),
    /// The kernel refused the filter.
    #[error("cannot install the system call filter: {0}")]
    Install(#[from] seccompiler::Error),
    /// The filter lets a forbidden call through.
    #[error("the system call filter does not work: openat was not trapped")]
    Ineffective,
}

/// Closes every inherited descriptor and gives up every system call but the few needed.
pub fn enter() -> Result<(), SandboxError> {
    close_descriptors()?;
    install_handler()?;
    let program: BpfProgram = filter()?.try_into()?;
    seccompiler::apply_filter(&program)?;
    try_forbidden_call()
}

fn close_descriptors() -> Result<(), SandboxError> {
    let last = libc::c_uint::MAX;
    // SAFETY: close_range only takes numbers. Nothing in this process owns a descriptor from 3 on.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER_DESCRIPTOR, last, 0u32) };
    match result {
        0 => Ok(()),
        _ => Err(SandboxError::CloseDescriptors(io::Error::last_os_error())),
    }
}

/// The calls that the process may still make.
fn filter() -> Result<SeccompFilter, SandboxError> {
    let anything = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_getpid,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigreturn,
        libc::SYS_exit_group,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        anything.into_iter().map(|call| (call, Vec::new())).collect();
    // The allocator maps memory; nobody maps code.
    let executable = libc::PROT_EXEC as u64;
    let not_executable =
        SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable), 0)?;
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![not_executable])?]);
    let architecture = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, architecture)?)
}

fn install_handler() -> Result<(), SandboxError> {
    let handler = SigHandler::SigAction(report_trapped_call);
    let action = SigAction::new(handler, SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handler calls only what is safe to call in one: write and _exit.
    unsafe { sigaction(Signal::SIGSYS, &action) }?;
    Ok(())
}

extern "C" fn report_trapped_call(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    if TRYING.load(Ordering::Relaxed) {
        CAUGHT.store(true, Ordering::Relaxed);
        return;
    }
    // SAFETY: the kernel passes a whole siginfo_t, which for SIGSYS has an int at that offset.
    let number = unsafe { info.byte_add(SYSCALL_NUMBER_AT).cast::<libc::c_int>().read() };
    let mut message = *b"seccomp: bad syscall           \n";
    let mut rest = number.unsigned_abs();
    for digit in message[21..30].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // SAFETY: the buffer outlives the call; _exit does not return.
    unsafe {
        libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
        libc::_exit(1);
    }
}

/// Makes a call that must be trapped.
fn try_forbidden_call() -> Result<(), SandboxError> {
    TRYING.store(true, Ordering::Relaxed);
    let path = c"/dev/null";
    // SAFETY: the path is a NUL-terminated string. The result means nothing: a trapped call
    // leaves the register as it was.
    unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY) };
    TRYING.store(false, Ordering::Relaxed);
    if CAUGHT.load(Ordering::Relaxed) { Ok(()) } else { Err(SandboxError::Ineffective) }
}

/// Ends the process without the clean-up that the sandbox forbids.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit takes a number and does not return. Nothing is buffered: both pipes are
    // written through.
    unsafe { libc::_exit(status) }
}
