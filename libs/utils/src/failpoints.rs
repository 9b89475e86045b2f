//! Failpoints: places where a test can make the code fail, wait or exit.
//!
//! They exist only in builds with the `testing` feature; otherwise the macros cost nothing.
//! The action grammar is that of the `fail` crate, plus `exit`, which ends the process with
//! status 1, and `kill`, which ends it as `kill -9` does.

use std::time::Duration;

/// Environment variable with failpoints to configure at start: `name=actions;name=actions`.
pub const FAILPOINTS_ENV: &str = "FAILPOINTS";

/// Failpoints could not be configured.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FailpointError {
    /// This build has none.
    #[error("Cannot manage failpoints because storage was compiled without failpoints support")]
    NotCompiledIn,
    /// The action text is not of the grammar.
    #[error("Failed to configure failpoints: {name}={actions}: {reason}")]
    BadActions {
        /// Name of the failpoint.
        name: String,
        /// The text as received.
        actions: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The environment variable is not a list of `name=actions`.
    #[error("{FAILPOINTS_ENV}: {0:?} is not of the form name=actions")]
    BadEnvironment(String),
}

/// Whether this build has failpoints.
pub const fn compiled_in() -> bool {
    fail::has_failpoints()
}

/// Sets what happens at the failpoint `name`. Unknown names are accepted.
pub fn configure(name: &str, actions: &str) -> Result<(), FailpointError> {
    if !compiled_in() {
        return Err(FailpointError::NotCompiledIn);
    }
    tracing::info!("cfg failpoint: {name} {actions}");
    let configured = match actions {
        "exit" => fail::cfg_callback(name, || {
            tracing::info!("exiting because a failpoint says so");
            std::process::exit(1);
        }),
        "kill" => fail::cfg_callback(name, kill_this_process),
        actions => fail::cfg(name, actions),
    };
    configured.map_err(|reason| FailpointError::BadActions {
        name: name.to_owned(),
        actions: actions.to_owned(),
        reason,
    })
}

/// Configures what the environment variable `FAILPOINTS` asks for. In a build without
/// failpoints a non-empty variable is ignored with a warning.
pub fn init_from_env() -> Result<(), FailpointError> {
    let Ok(text) = std::env::var(FAILPOINTS_ENV) else {
        return Ok(());
    };
    if !compiled_in() && !text.is_empty() {
        tracing::warn!("{FAILPOINTS_ENV} is set, but this build has no failpoints");
        return Ok(());
    }
    configure_list(&text)
}

/// Configures a list of the form `name=actions;name=actions`.
pub fn configure_list(text: &str) -> Result<(), FailpointError> {
    for item in text.split(';').map(str::trim).filter(|item| !item.is_empty()) {
        let (name, actions) =
            item.split_once('=').ok_or_else(|| FailpointError::BadEnvironment(item.to_owned()))?;
        configure(name.trim(), actions.trim())?;
    }
    Ok(())
}

/// Whether `name` has been configured to something other than `off`.
pub fn is_configured(name: &str) -> bool {
    compiled_in() && fail::list().iter().any(|(known, actions)| known == name && actions != "off")
}

/// The kernel ends the process here and now: nothing is flushed, no handler runs.
fn kill_this_process() {
    tracing::info!("dying because a failpoint says so");
    let sent = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
    unreachable!("the process outlived SIGKILL: {sent:?}");
}

/// Body of [`pausable_failpoint!`](crate::pausable_failpoint): whether it says `return`.
#[doc(hidden)]
pub async fn pausable(name: &'static str) -> bool {
    if !is_configured(name) {
        return false;
    }
    let span = tracing::Span::current();
    let blocked = tokio::task::spawn_blocking(move || {
        let _entered = span.entered();
        tracing::info!("at failpoint {name}");
        fail::eval(name, |_| ()).is_some()
    });
    match blocked.await {
        Ok(returns) => returns,
        // A `panic` action must reach the task that met the failpoint.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is going away.
        Err(_) => false,
    }
}

/// Body of [`sleep_failpoint!`](crate::sleep_failpoint).
#[doc(hidden)]
pub async fn sleep(name: &'static str) {
    let Some(text) = fail::eval(name, |argument| argument).flatten() else {
        return;
    };
    match text.parse() {
        Ok(wait_ms) => {
            let wait = Duration::from_millis(wait_ms);
            tracing::info!("failpoint {name:?}: sleeping for {wait:?}");
            tokio::time::sleep(wait).await;
            tracing::info!("failpoint {name:?}: sleep done");
        }
        Err(_) => tracing::error!("failpoint {name:?}: {text:?} is not a number of milliseconds"),
    }
}

/// A failpoint that may `pause` without holding up a runtime thread. For async code. With a second
/// argument, the action `return` makes the function return that.
#[macro_export]
macro_rules! pausable_failpoint {
    ($name:expr) => {
        if $crate::failpoints::compiled_in() {
            $crate::failpoints::pausable($name).await;
        }
    };
    ($name:expr, $returned:expr) => {
        if $crate::failpoints::compiled_in() && $crate::failpoints::pausable($name).await {
            return $returned;
        }
    };
}

/// A failpoint that sleeps for the milliseconds given by `return(ms)`. For async code.
#[macro_export]
macro_rules! sleep_failpoint {
    ($name:expr) => {
        if $crate::failpoints::compiled_in() {
            $crate::failpoints::sleep($name).await
        }
    };
}

#[cfg(test)]
mod tests;
