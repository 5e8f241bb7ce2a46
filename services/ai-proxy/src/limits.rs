//! What keeps one tenant or one sick service from costing the others: a circuit breaker, budgets, pauses.
//!
//! Pure: the present and chance are handed in, as milliseconds since 1970 and as a number.

use std::collections::VecDeque;
use std::time::Duration;

use crate::providers::Failure;

/// Failures of a service in a row after which it is left alone.
const TRIPS_AT: u32 = 5;
const REST_MS: i64 = 10_000;
const LONGEST_REST_MS: i64 = 120_000;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// The pause behind the first failed attempt; it doubles.
const PAUSE_MS: u64 = 500;
const LONGEST_PAUSE_MS: u64 = 8_000;
/// A service that wants to be left alone for longer is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Leaves a service alone that keeps failing: fails at once meanwhile, then lets one question through.
#[derive(Default, Debug)]
pub(crate) struct Breaker {
    failures: u32,
    rests: u32,
    /// While it is left alone; afterwards one question tries.
    until: Option<i64>,
    /// A question is trying since then.
    trying: Option<i64>,
}

/// What admits a question, and tells the one that tries from those that were asked before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Admitted {
    trying: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BreakerState {
    Closed,
    HalfOpen,
    Open,
}

impl Breaker {
    /// Whether a question may be asked now; it must be followed by `succeeded`, `failed` or `left`.
    pub(crate) fn admits(&mut self, now: i64) -> Option<Admitted> {
        match self.state(now) {
            BreakerState::Closed => Some(Admitted { trying: None }),
            BreakerState::Open => None,
            BreakerState::HalfOpen => {
                // One that never came back must not keep the others out for ever.
                let free = self.trying.is_none_or(|since| now - since > MINUTE_MS);
                free.then(|| {
                    self.trying = Some(now);
                    Admitted { trying: self.trying }
                })
            }
        }
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn failed(&mut self, admitted: Admitted, now: i64) {
        let tried = self.is_trying(admitted);
        // Whoever was asked before it opened says nothing that it did not know then.
        if self.until.is_some() && !tried {
            return;
        }
        self.failures += 1;
        if tried || self.failures >= TRIPS_AT {
            self.trying = None;
            let rest = REST_MS.saturating_mul(1 << self.rests.min(6)).min(LONGEST_REST_MS);
            (self.until, self.rests) = (Some(now + rest), self.rests + 1);
        }
    }

    /// It ended in a way that says nothing about the service.
    pub(crate) fn left(&mut self, admitted: Admitted) {
        if self.is_trying(admitted) {
            self.trying = None;
        }
    }

    /// Whether it is the question that tries now.
    fn is_trying(&self, admitted: Admitted) -> bool {
        admitted.trying.is_some() && admitted.trying == self.trying
    }

    pub(crate) fn state(&self, now: i64) -> BreakerState {
        match self.until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }
}

/// Tokens used over the last hour, minute by minute.
#[derive(Default, Debug)]
pub(crate) struct Spending {
    minutes: VecDeque<(i64, u64)>,
    sum: u64,
}

impl Spending {
    pub(crate) fn add(&mut self, at: i64, tokens: u64) {
        let minute = at.div_euclid(MINUTE_MS);
        match self.minutes.back_mut() {
            Some((last, used)) if *last >= minute => *used = used.saturating_add(tokens),
            _ => self.minutes.push_back((minute, tokens)),
        }
        self.sum = self.sum.saturating_add(tokens);
        self.forget(at);
    }

    pub(crate) fn last_hour(&mut self, now: i64) -> u64 {
        self.forget(now);
        self.sum
    }

    fn forget(&mut self, now: i64) {
        let oldest = (now - HOUR_MS).div_euclid(MINUTE_MS);
        while let Some((minute, used)) = self.minutes.front().copied() {
            if minute > oldest {
                break;
            }
            self.minutes.pop_front();
            self.sum = self.sum.saturating_sub(used);
        }
    }
}

/// How long to wait before the next attempt; `None` when the service asks for more than is worth waiting.
/// `chance` spreads those who failed together.
pub(crate) fn pause(failures: u32, failure: &Failure, chance: u64) -> Option<Duration> {
    let longest = PAUSE_MS.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let longest = longest.min(LONGEST_PAUSE_MS);
    // Between a half and the whole, so that nobody comes at once.
    let own = Duration::from_millis(longest / 2 + chance % (longest / 2 + 1));
    match failure.retry_after {
        Some(asked) if asked > LONGEST_WAIT => None,
        // Not before it wants, and not all at the same moment.
        Some(asked) => Some(asked + own / 4),
        None => Some(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::Reason;

    #[test]
    fn a_service_that_keeps_failing_is_left_alone_and_then_tried_by_one() {
        let mut breaker = opened();
        assert_eq!(breaker.admits(REST_MS - 1), None);
        let trying = breaker.admits(REST_MS).expect("one tries");
        assert_eq!(breaker.admits(REST_MS), None, "and no other meanwhile");
        breaker.failed(trying, REST_MS);
        assert_eq!(breaker.admits(2 * REST_MS), None, "the rest is longer after a failed try");
        assert!(breaker.admits(3 * REST_MS).is_some());
        breaker.succeeded();
        assert_eq!(breaker.state(3 * REST_MS), BreakerState::Closed);
    }

    /// One that so many failures in a row have just opened.
    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..TRIPS_AT {
            let admitted = breaker.admits(0).unwrap();
            breaker.failed(admitted, 0);
        }
        breaker
    }

    #[test]
    fn those_of_one_burst_that_fail_later_make_no_rest_longer_and_end_no_try() {
        let before = Admitted { trying: None };
        let mut breaker = opened();
        for _ in 0..100 {
            breaker.failed(before, REST_MS / 2);
        }
        let trying = breaker.admits(REST_MS).expect("the first rest is a short one");
        breaker.failed(before, REST_MS);
        breaker.left(before);
        assert_eq!(breaker.admits(REST_MS), None, "one still tries");
        breaker.left(trying);
        let another = breaker.admits(REST_MS).expect("it has said nothing, so another one tries");
        breaker.failed(another, REST_MS);
        assert!(breaker.admits(3 * REST_MS).is_some(), "that was the second failure, no later one");
    }

    #[test]
    fn an_answer_in_between_forgets_the_failures() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            (1..TRIPS_AT).for_each(|_| breaker.failed(Admitted { trying: None }, 0));
            breaker.succeeded();
        }
        assert!(breaker.admits(0).is_some());
    }

    #[test]
    fn what_was_spent_counts_for_an_hour() {
        let mut spending = Spending::default();
        spending.add(0, 100);
        spending.add(30 * MINUTE_MS, 50);
        assert_eq!(spending.last_hour(59 * MINUTE_MS), 150);
        assert_eq!(spending.last_hour(61 * MINUTE_MS), 50);
        assert_eq!(spending.last_hour(3 * HOUR_MS), 0);
    }

    #[test]
    fn pauses_grow_and_heed_what_the_service_asks() {
        let failure = Failure::from(Reason::Unavailable);
        let between = |failures, low, high| {
            for chance in [0, 1, 7_919, u64::MAX] {
                let pause = pause(failures, &failure, chance).unwrap().as_millis();
                assert!((low..=high).contains(&pause), "{pause}");
            }
        };
        between(1, 250, 500);
        between(3, 1_000, 2_000);
        between(30, 4_000, 8_000);
        let asked = |seconds| Failure {
            retry_after: Some(Duration::from_secs(seconds)),
            ..Reason::RateLimited.into()
        };
        assert!(pause(1, &asked(2), 0).unwrap() >= Duration::from_secs(2));
        assert_eq!(pause(1, &asked(60), 0), None);
    }
}
