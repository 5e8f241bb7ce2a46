//! When whom to wake: a connection costs about the same to write to whether one event or twenty are due to it.
//!
//! A channel that few follow is told of each event at once, and so is everybody of a critical one. Channels that many
//! follow are told in waves, with a rest behind each that is in proportion to what the wave took: the first event of a
//! quiet time goes out at once, and under load most of the time is left to whatever else is on its way. A wave goes
//! in steps, so that nothing else has to wait for all of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::hub::{Hub, Signal};
use crate::tail::TopicId;

/// Of what a wave took.
const REST: u32 = 3;
const LONGEST_REST: Duration = Duration::from_millis(20);
/// A channel with no more listeners than this never waits.
const FEW: usize = 32;
/// Connections that are woken before whatever else is ready has its turn.
const STEP: usize = 50;

pub(super) struct Waves {
    /// The topics whose listeners are woken with the next wave.
    waiting: BTreeSet<TopicId>,
    /// Whom the wave that goes on has not reached.
    ahead: Vec<Arc<Signal>>,
    began: Instant,
    next: Instant,
}

impl Waves {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { waiting: BTreeSet::new(), ahead: Vec::new(), began: now, next: now }
    }

    /// Whether a wave goes on.
    pub(super) fn is_rolling(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// When the next wave begins, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next)
    }

    /// Something came to these topics: wakes whoever is not to wait.
    pub(super) fn add(&mut self, hub: &Hub, touched: BTreeSet<TopicId>) {
        let many = hub.wider_than(FEW, &touched);
        hub.wake(touched.difference(&many));
        self.waiting.extend(many);
    }

    /// Goes on with the wave, or begins the next one when it is time.
    pub(super) fn step(&mut self, hub: &Hub) {
        let now = Instant::now();
        if !self.is_rolling() {
            if self.waiting.is_empty() || now < self.next {
                return;
            }
            self.ahead = hub.listeners(&std::mem::take(&mut self.waiting));
            self.began = now;
        }
        let asleep = std::iter::from_fn(|| self.ahead.pop()).filter(|signal| signal.raise());
        asleep.take(STEP).for_each(drop);
        if !self.is_rolling() {
            self.next = now + rest_after(now - self.began);
        }
    }
}

fn rest_after(took: Duration) -> Duration {
    (took * REST).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_in_proportion_to_the_wave_and_bounded() {
        assert_eq!(rest_after(Duration::ZERO), Duration::ZERO);
        assert_eq!(rest_after(Duration::from_millis(2)), Duration::from_millis(6));
        assert_eq!(rest_after(Duration::from_secs(2)), LONGEST_REST);
    }
}
