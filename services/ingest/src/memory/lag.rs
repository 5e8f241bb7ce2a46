//! Whether a follower has stopped following. Pure.
//!
//! The log's own duplicate window covers a follower's lag, but only for so long.

/// Milliseconds without progress after which what was appended meanwhile may soon be forgotten by the log.
/// Well below the streams' duplicate window of two minutes.
const PATIENCE: i64 = 30_000;

#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Lag {
    seen: u64,
    since: Option<i64>,
}

impl Lag {
    /// `appended` is the highest sequence this process was told, `seen` what the follower has reached, `now` in
    /// unix milliseconds.
    pub(crate) fn is_stuck(&mut self, appended: u64, seen: u64, now: i64) -> bool {
        if seen >= appended || seen != self.seen {
            *self = Self { seen, since: None };
        }
        if seen >= appended {
            return false;
        }
        now - *self.since.get_or_insert(now) > PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_follower_that_makes_no_progress_is_stuck() {
        let mut lag = Lag::default();
        assert!(!lag.is_stuck(10, 5, 0));
        assert!(!lag.is_stuck(90, 6, 29_000), "it moves");
        assert!(!lag.is_stuck(90, 6, 59_000));
        assert!(lag.is_stuck(90, 6, 59_001));
        assert!(!lag.is_stuck(90, 90, 59_002));
        assert!(!lag.is_stuck(91, 90, 200_000), "its patience begins anew");
    }
}
