//! PostgreSQL's wire timestamps: microseconds since 2000-01-01 UTC.

use std::time::{Duration, SystemTime};

/// Seconds between the Unix epoch and PostgreSQL's.
const PG_EPOCH_UNIX_SECONDS: u64 = 946_684_800;

/// A point in time as the protocol carries it. 0 commonly means "unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PgTimestamp(pub i64);

impl PgTimestamp {
    /// Converts a clock reading that the caller took. Saturates far outside any real date.
    pub fn from_system_time(time: SystemTime) -> Self {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(PG_EPOCH_UNIX_SECONDS);
        let micros = match time.duration_since(epoch) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros)
            }
        };
        Self(micros)
    }

    /// The same instant as a `SystemTime`; `None` when the platform cannot represent it.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(PG_EPOCH_UNIX_SECONDS);
        let distance = Duration::from_micros(self.0.unsigned_abs());
        if self.0 >= 0 { epoch.checked_add(distance) } else { epoch.checked_sub(distance) }
    }
}

#[cfg(test)]
mod tests;
