//! The only place that reads the time of day.
//! It must not know what the time is used for; pure code is handed the result.

use std::time::SystemTime;

use time::OffsetDateTime;

/// The present moment in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the one module that reads the clock")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::from(SystemTime::now())
}

/// Whole seconds since the Unix epoch, the unit of token claims.
pub fn unix_seconds() -> i64 {
    now().unix_timestamp()
}

/// Milliseconds since the Unix epoch, the unit of stored times.
pub fn unix_millis() -> i64 {
    i64::try_from(now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_milliseconds_tell_the_same_moment() {
        let seconds = unix_seconds();
        let millis = unix_millis();
        assert!((millis / 1_000 - seconds).abs() <= 1, "{millis} {seconds}");
    }
}
