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
/// Connections that are woken before whatever else is ready has its turn. Small steps cost a third more of a processor
/// for each delivery when everything is busy, and large ones make an alert wait at every place it passes.
const STEP: usize = 400;
const SMALL_STEP: usize = 50;
/// How long after a critical event steps are small: others follow it, about the same person and from those who answer.
const CAREFUL_FOR: Duration = Duration::from_secs(10);

pub(super) struct Waves {
    /// The topics whose listeners are woken with the next wave.
    waiting: BTreeSet<TopicId>,
    /// When the wave began that goes on.
    rolling_since: Option<Instant>,
    /// Whom it has not reached.
    ahead: Vec<Arc<Signal>>,
    next: Instant,
    careful_until: Instant,
}

impl Waves {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let (waiting, ahead) = (BTreeSet::new(), Vec::new());
        Self { waiting, rolling_since: None, ahead, next: now, careful_until: now }
    }

    /// A critical event has come.
    pub(super) fn be_careful(&mut self) {
        self.careful_until = Instant::now() + CAREFUL_FOR;
    }

    /// Whether a wave goes on, or those whom its last step woke have yet to run.
    pub(super) const fn is_rolling(&self) -> bool {
        self.rolling_since.is_some()
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
        if self.ahead.is_empty() {
            if let Some(began) = self.rolling_since.take() {
                self.next = now + rest_after(now - began);
            }
            if self.waiting.is_empty() || now < self.next {
                return;
            }
            self.ahead = hub.listeners(&std::mem::take(&mut self.waiting));
            self.rolling_since = Some(now);
        }
        let step = if now < self.careful_until { SMALL_STEP } else { STEP };
        let asleep = std::iter::from_fn(|| self.ahead.pop()).filter(|signal| signal.raise());
        asleep.take(step).for_each(drop);
    }
}

fn rest_after(took: Duration) -> Duration {
    (took * REST).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use domain::cursor::CursorKeys;
    use domain::position::Position;
    use domain::{Channel, StreamId};

    use super::*;
    use crate::session::test_support::{catalogue, event, tenant};
    use crate::session::{Session, Start};

    struct Crowd {
        hub: Hub,
        /// Those of `room`, and the two of `pair`.
        many: Vec<Arc<Signal>>,
        few: Vec<Arc<Signal>>,
        sessions: Vec<Session>,
        sequence: u64,
    }

    impl Crowd {
        fn new(many: usize) -> Self {
            let keys = CursorKeys::new(b"a secret of this test, long enough", None);
            let hub = Hub::new(Position::default(), 1 << 20, keys);
            let (nobody, sessions) = (Vec::new(), Vec::new());
            let mut crowd = Self { hub, many: nobody.clone(), few: nobody, sessions, sequence: 0 };
            crowd.many = crowd.members("room", many);
            crowd.few = crowd.members("pair", 2);
            crowd
        }

        fn members(&mut self, channel: &str, count: usize) -> Vec<Arc<Signal>> {
            let channel = Channel::parse(channel).unwrap();
            let signals: Vec<_> = (0..count).map(|_| Arc::new(Signal::default())).collect();
            for signal in &signals {
                let start = |tail: &_| Session::new(tenant(), &Start::Now, 0, tail);
                let mut session = self.hub.with_tail(start);
                let id = self.hub.register(signal);
                self.hub.change(id, &mut session, |session, tail| session.join(&channel, tail));
                self.sessions.push(session);
            }
            signals
        }

        fn push(&mut self, channel: &str) -> BTreeSet<TopicId> {
            self.sequence += 1;
            let entry = event(StreamId::Activity, self.sequence, &[channel], &catalogue());
            self.hub.push(vec![entry])
        }
    }

    /// How many are awake; they sleep then.
    async fn woken(signals: &[Arc<Signal>]) -> usize {
        let mut woken = 0;
        for signal in signals {
            if !signal.raise() {
                woken += 1;
            }
            signal.wait().await;
        }
        woken
    }

    #[tokio::test(start_paused = true)]
    async fn many_are_woken_in_steps_and_after_a_rest_and_few_at_once() {
        let mut crowd = Crowd::new(120);
        let mut waves = Waves::new();
        waves.be_careful();
        for expected in [SMALL_STEP, SMALL_STEP, 20] {
            if !waves.is_rolling() {
                let touched = crowd.push("room");
                waves.add(&crowd.hub, touched);
            }
            waves.step(&crowd.hub);
            assert_eq!(woken(&crowd.many).await, expected);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(waves.is_rolling(), "the last have yet to run");
        waves.step(&crowd.hub);
        assert!(!waves.is_rolling());

        let touched = crowd.push("room");
        waves.add(&crowd.hub, touched);
        let touched = crowd.push("pair");
        waves.add(&crowd.hub, touched);
        waves.step(&crowd.hub);
        assert_eq!((woken(&crowd.many).await, woken(&crowd.few).await), (0, 2));
        // The wave took three milliseconds.
        let rest = waves.due().unwrap() - Instant::now();
        assert_eq!(rest, Duration::from_millis(9));
        tokio::time::advance(rest).await;
        waves.step(&crowd.hub);
        assert_eq!(woken(&crowd.many).await, SMALL_STEP);
        tokio::time::advance(CAREFUL_FOR).await;
        waves.step(&crowd.hub);
        assert_eq!(woken(&crowd.many).await, 70, "nothing critical has come for a while");
    }

    #[test]
    fn a_rest_is_in_proportion_to_the_wave_and_bounded() {
        assert_eq!(rest_after(Duration::ZERO), Duration::ZERO);
        assert_eq!(rest_after(Duration::from_millis(2)), Duration::from_millis(6));
        assert_eq!(rest_after(Duration::from_secs(2)), LONGEST_REST);
    }
}
