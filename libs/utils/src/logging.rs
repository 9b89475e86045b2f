//! Log output of the daemons: format, filter, event counts and panics.
//!
//! Lines go to stdout, without colour and without targets. `RUST_LOG` filters (default
//! `info`); events that it suppresses are not counted either.

use std::fmt;
use std::panic::PanicHookInfo;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Plain,
    /// One JSON object per line.
    Json,
}

/// Not the name of a log format.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized log format {0:?}: use plain or json")]
pub struct LogFormatError(pub String);

impl FromStr for LogFormat {
    type Err = LogFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "plain" => Ok(LogFormat::Plain),
            "json" => Ok(LogFormat::Json),
            _ => Err(LogFormatError(text.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Plain => "plain",
            LogFormat::Json => "json",
        })
    }
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `RUST_LOG` is not a filter.
    #[error("environment variable RUST_LOG is not a valid log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::FromEnvError),
    /// Logging has been set up before.
    #[error("logging is already initialised")]
    AlreadyInitialised,
}

/// Sets up logging for the process. To be called once, before the first event.
pub fn init(format: LogFormat) -> Result<(), LoggingError> {
    let filter = EnvFilter::builder().with_default_directive(Level::INFO.into()).from_env()?;
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stdout);
    let lines = match format {
        LogFormat::Plain => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(EventCounter)
        .with(lines)
        .try_init()
        .map_err(|_| LoggingError::AlreadyInitialised)
}

/// Sends panics to the log, as ERROR events with a backtrace, instead of to stderr.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("<unnamed>");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let message = match (info.payload().downcast_ref::<&str>(), info.payload().downcast_ref()) {
        (Some(text), _) => *text,
        (None, Some(text)) => String::as_str(text),
        (None, None) => "a panic without a text",
    };
    let backtrace = std::backtrace::Backtrace::capture();
    let _span = tracing::error_span!("panic", %thread, %location).entered();
    tracing::error!("{message}\n\nStack backtrace:\n{backtrace}");
}

/// The levels, in the order of [`event_counts`].
const LEVELS: [(Level, &str); 5] = [
    (Level::ERROR, "error"),
    (Level::WARN, "warn"),
    (Level::INFO, "info"),
    (Level::DEBUG, "debug"),
    (Level::TRACE, "trace"),
];

static EVENT_COUNTS: [AtomicU64; LEVELS.len()] = [const { AtomicU64::new(0) }; LEVELS.len()];

/// How many events of each level have been logged, by the level's lower-case name.
pub fn event_counts() -> Vec<(&'static str, u64)> {
    std::iter::zip(LEVELS, &EVENT_COUNTS)
        .map(|((_, name), count)| (name, count.load(Ordering::Relaxed)))
        .collect()
}

struct EventCounter;

impl<S: Subscriber> Layer<S> for EventCounter {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        for ((level, _), count) in std::iter::zip(LEVELS, &EVENT_COUNTS) {
            if level == *event.metadata().level() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
