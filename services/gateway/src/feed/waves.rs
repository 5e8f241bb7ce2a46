//! When whom to wake: a connection costs about the same to write to whether one event or twenty are due to it.
//!
//! A channel that few follow is told of each event at once, and so is everybody of a critical one. Channels that many
//! follow are told at once while there is little to do, and under load together, after a pause as long as the last
//! wave took to write, about.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::hub::Hub;
use crate::tail::TopicId;

/// The longest that a channel waits for others.
const LONGEST_WAIT: Duration = Duration::from_millis(10);
/// Connections that are written to in a millisecond by one core while it has other things to do, about.
const WAKES_PER_MILLISECOND: usize = 100;
/// A channel with no more listeners than this never waits.
const FEW: usize = 32;

pub(super) struct Waves {
    /// The topics whose listeners are woken with the next wave.
    waiting: BTreeSet<TopicId>,
    next: Instant,
}

impl Waves {
    pub(super) fn new() -> Self {
        Self { waiting: BTreeSet::new(), next: Instant::now() }
    }

    /// When somebody is to be woken although nothing comes.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next)
    }

    /// Wakes whoever is to be woken now that something came to these topics, or nothing. `urgent`: nobody waits.
    pub(super) fn wake(&mut self, hub: &Hub, touched: BTreeSet<TopicId>, urgent: bool) {
        self.waiting.extend(touched);
        let now = Instant::now();
        if urgent || now >= self.next {
            let woken = hub.wake(std::mem::take(&mut self.waiting).iter());
            self.next = now + pause_after(woken);
        } else {
            let many = hub.wider_than(FEW, &self.waiting);
            hub.wake(self.waiting.difference(&many));
            self.waiting = many;
        }
    }
}

fn pause_after(woken: usize) -> Duration {
    if woken < FEW {
        return Duration::ZERO;
    }
    let milliseconds = woken as f64 / WAKES_PER_MILLISECOND as f64;
    Duration::from_secs_f64(milliseconds / 1_000.0).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_followed_by_no_pause_and_many_by_one_that_is_bounded() {
        assert_eq!(pause_after(FEW - 1), Duration::ZERO);
        assert_eq!(pause_after(200), Duration::from_millis(2));
        assert_eq!(pause_after(100_000), LONGEST_WAIT);
    }
}
