//! Whether a process lives.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Whether the process exists and is not a zombie. (Where nobody collects orphans, dead
/// processes stay visible as zombies.)
pub fn is_alive(pid: i32) -> bool {
    match kill(Pid::from_raw(pid), None) {
        Err(Errno::ESRCH) => false,
        _ => !is_zombie(pid),
    }
}

/// Whether the process lives and was started from a program of this name. Pids are reused:
/// a pid that was written down long ago may be somebody else's.
pub fn runs_program(pid: i32, program: &str) -> bool {
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = command_line.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name == program.as_bytes() && is_alive(pid)
}

fn is_zombie(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the command name, which is in parentheses and may contain any.
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    matches!(state, Some("Z" | "X")) && !has_other_threads(pid)
}

/// The first thread of a process may be a zombie while others still end their work, holding
/// files open and locks with them.
fn has_other_threads(pid: i32) -> bool {
    fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1)
}
