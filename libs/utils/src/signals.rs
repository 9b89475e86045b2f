//! Process signals that end a daemon.

use std::fmt;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownSignal {
    /// Ctrl-C.
    Interrupt,
    /// End at once, as in a crash.
    Quit,
    /// End in order.
    Terminate,
}

impl fmt::Display for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ShutdownSignal::Interrupt => "SIGINT",
            ShutdownSignal::Quit => "SIGQUIT",
            ShutdownSignal::Terminate => "SIGTERM",
        })
    }
}

/// Waits for SIGINT, SIGQUIT or SIGTERM. From the first call on these no longer end the
/// process by themselves. Cancel-safe.
pub async fn wait_for_shutdown_signal() -> io::Result<ShutdownSignal> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Signal::recv is cancel-safe.
    Ok(tokio::select! {
        _ = interrupt.recv() => ShutdownSignal::Interrupt,
        _ = quit.recv() => ShutdownSignal::Quit,
        _ = terminate.recv() => ShutdownSignal::Terminate,
    })
}
