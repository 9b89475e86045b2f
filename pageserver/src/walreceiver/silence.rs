//! When a broker that says nothing is worth a warning. Decisions only: the caller says what time
//! it is.
//!
//! An idle timeline is not spoken of, so silence alone means nothing. It does when WAL of the
//! timeline arrives, or somebody waits for some: then safekeepers should publish every second.

use std::time::Duration;

use tokio::time::Instant;

/// Silence of this length is unusual for a timeline in use.
const LIMIT: Duration = Duration::from_secs(30);

/// How long the broker has been silent about a timeline.
#[derive(Debug)]
pub(super) struct BrokerSilence {
    last_message: Instant,
    /// Since when somebody has been waiting without a break.
    awaited_since: Option<Instant>,
    /// A silence is warned of once.
    is_warned: bool,
}

impl BrokerSilence {
    /// Counts from now on.
    pub(super) fn new(now: Instant) -> Self {
        BrokerSilence { last_message: now, awaited_since: None, is_warned: false }
    }

    /// The broker has said something.
    pub(super) fn message_came(&mut self, now: Instant) {
        self.last_message = now;
        self.is_warned = false;
    }

    /// How long the broker has been silent, if that is to be warned of now. `wal_came` is when
    /// the present connection last brought WAL.
    pub(super) fn warning(
        &mut self,
        somebody_waits: bool,
        wal_came: Option<Instant>,
        now: Instant,
    ) -> Option<Duration> {
        self.awaited_since = match (somebody_waits, self.awaited_since) {
            (true, since) => Some(since.unwrap_or(now)),
            (false, _) => None,
        };
        let silent = now.saturating_duration_since(self.last_message);
        let long_ago = |at: Instant| now.saturating_duration_since(at) >= LIMIT;
        // WAL that came in the midst of the silence: the timeline is written to.
        let is_written = wal_came.is_some_and(|at| at >= self.last_message + LIMIT);
        let is_awaited = self.awaited_since.is_some_and(long_ago);
        if self.is_warned || silent < LIMIT || !(is_written || is_awaited) {
            return None;
        }
        self.is_warned = true;
        Some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_about_an_idle_timeline_means_nothing() {
        let start = Instant::now();
        let mut silence = BrokerSilence::new(start);
        assert_eq!(silence.warning(false, None, start + 1000 * SECOND), None);
        assert_eq!(silence.warning(false, Some(start), start + 2000 * SECOND), None);
    }

    #[test]
    fn wal_that_comes_without_word_of_it_is_warned_of_once() {
        let start = Instant::now();
        let mut silence = BrokerSilence::new(start);
        assert_eq!(silence.warning(false, Some(start + 29 * SECOND), start + 31 * SECOND), None);
        let now = start + 40 * SECOND;
        assert_eq!(silence.warning(false, Some(now), now), Some(40 * SECOND));
        assert_eq!(silence.warning(false, Some(now), now + SECOND), None);
        silence.message_came(now + 2 * SECOND);
        let now = now + 60 * SECOND;
        assert_eq!(silence.warning(false, Some(now), now), Some(58 * SECOND));
    }

    #[test]
    fn only_a_wait_that_lasts_is_warned_of() {
        let start = Instant::now();
        let mut silence = BrokerSilence::new(start);
        assert_eq!(silence.warning(true, None, start + 100 * SECOND), None);
        assert_eq!(silence.warning(false, None, start + 120 * SECOND), None);
        assert_eq!(silence.warning(true, None, start + 121 * SECOND), None);
        assert_eq!(silence.warning(true, None, start + 151 * SECOND), Some(151 * SECOND));
    }
}
