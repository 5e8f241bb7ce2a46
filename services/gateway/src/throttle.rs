//! How many messages a client may send: a steady rate with bursts of twice as many.

use std::time::Duration;

use tokio::time::Instant;

/// Messages beyond the burst that are refused one by one before the connection is ended.
const PATIENCE: u32 = 100;

pub(crate) struct Throttle {
    per_second: u32,
    /// Thousandths of a message.
    tokens: u64,
    at: Instant,
    refused: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Accept,
    Refuse,
    /// It goes on although it has been refused many times.
    End,
}

impl Throttle {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, tokens: u64::from(per_second) * 2_000, at: Instant::now(), refused: 0 }
    }

    pub(crate) fn take(&mut self) -> Verdict {
        self.take_at(Instant::now())
    }

    fn take_at(&mut self, now: Instant) -> Verdict {
        let passed = now.saturating_duration_since(self.at).min(Duration::from_secs(2));
        let gained = passed.as_millis() as u64 * u64::from(self.per_second);
        if gained > 0 {
            self.at = now;
            self.tokens = (self.tokens + gained).min(u64::from(self.per_second) * 2_000);
        }
        if self.tokens >= 1_000 {
            self.tokens -= 1_000;
            self.refused = 0;
            return Verdict::Accept;
        }
        self.refused += 1;
        if self.refused > PATIENCE { Verdict::End } else { Verdict::Refuse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_accepted_and_then_the_rate() {
        let mut throttle = Throttle::new(50);
        let start = throttle.at;
        let accepted = |throttle: &mut Throttle, at, tries| {
            (0..tries).filter(|_| throttle.take_at(at) == Verdict::Accept).count()
        };
        assert_eq!(accepted(&mut throttle, start, 150), 100);
        assert_eq!(accepted(&mut throttle, start + Duration::from_secs(1), 60), 50);
        assert_eq!(accepted(&mut throttle, start + Duration::from_secs(60), 150), 100);
        for _ in 0..100 {
            throttle.take_at(start + Duration::from_secs(60));
        }
        assert_eq!(throttle.take_at(start + Duration::from_secs(60)), Verdict::End);
    }
}
