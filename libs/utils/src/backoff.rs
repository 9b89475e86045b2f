//! Waiting longer after each failure, and retrying with it.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// First wait of [`retry`], in seconds.
pub const DEFAULT_BASE_BACKOFF_SECONDS: f64 = 0.1;
/// Longest wait of [`retry`], in seconds.
pub const DEFAULT_MAX_BACKOFF_SECONDS: f64 = 3.0;

/// The wait after failure number `attempt` (from 0, after which there is none): doubling
/// from `base_seconds`, at most `max_seconds`.
pub fn exponential_backoff_duration(attempt: u32, base_seconds: f64, max_seconds: f64) -> Duration {
    if attempt == 0 {
        return Duration::ZERO;
    }
    let seconds = base_seconds * 2f64.powi(attempt.saturating_sub(1).min(1000) as i32);
    Duration::from_secs_f64(seconds.min(max_seconds).max(0.0))
}

/// Sleeps for [`exponential_backoff_duration`], or less when `cancel` fires.
pub async fn exponential_backoff(
    attempt: u32,
    base_seconds: f64,
    max_seconds: f64,
    cancel: &CancellationToken,
) {
    let wait = exponential_backoff_duration(attempt, base_seconds, max_seconds);
    if !wait.is_zero() {
        // Both branches are cancel-safe: neither carries state.
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => {}
        }
    }
}

/// Runs `operation` until it succeeds, fails permanently, or has failed `max_retries` times.
///
/// Failures are logged at INFO, from number `warn_threshold` on at WARN. `description`
/// completes the sentence "... failed, will retry". Returns `None` when cancelled.
pub async fn retry<T, E, Op, Fut>(
    mut operation: Op,
    is_permanent: impl Fn(&E) -> bool,
    warn_threshold: u32,
    max_retries: u32,
    description: &str,
    cancel: &CancellationToken,
) -> Option<Result<T, E>>
where
    E: Display,
    Op: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut attempts = 0;
    loop {
        if cancel.is_cancelled() {
            return None;
        }
        let error = match operation().await {
            Ok(value) => {
                if attempts > 0 {
                    tracing::info!("{description} succeeded after {attempts} retries");
                }
                return Some(Ok(value));
            }
            Err(error) => error,
        };
        if is_permanent(&error) {
            return Some(Err(error));
        }
        if attempts >= max_retries {
            tracing::warn!("{description} still failed after {attempts} retries, giving up");
            return Some(Err(error));
        }
        if attempts < warn_threshold {
            tracing::info!("{description} failed, will retry (attempt {attempts}): {error}");
        } else {
            tracing::warn!("{description} failed, will retry (attempt {attempts}): {error}");
        }
        attempts += 1;
        exponential_backoff(
            attempts,
            DEFAULT_BASE_BACKOFF_SECONDS,
            DEFAULT_MAX_BACKOFF_SECONDS,
            cancel,
        )
        .await;
    }
}

#[cfg(test)]
mod tests;
