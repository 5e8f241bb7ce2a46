//! What is due next: critical events first, then the rest of a page, then the tail.

use domain::StreamId;

use super::{PageWish, Session, Sink, Stage, Subscription};
use crate::tail::{Local, Slot, Tail};

/// How far a call of [`Session::collect`] came.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing more is due.
    Idle,
    /// The sink is full; call again when it has been written.
    Full,
    /// A stream was put back to an older copy: tell the client, then [`Session::restart`].
    Rewritten,
    /// What is due next is not held in memory: answer with [`Session::turn`].
    NeedsPage(PageWish),
}

impl Session {
    /// Gives what is due until there is nothing more, the sink is full or a page is needed.
    pub(crate) fn collect(&mut self, tail: &Tail, sink: &mut impl Sink) -> Progress {
        if self.rewinds != tail.rewinds() {
            return Progress::Rewritten;
        }
        self.next_fill();
        if self.overtake(tail, sink) {
            return Progress::Full;
        }
        if self.page.is_some()
            && let Progress::Full = self.read_page(tail, sink)
        {
            return Progress::Full;
        }
        self.next_fill();
        if self.stage == Stage::Live && self.has_lost_the_tail(tail) {
            self.stage = Stage::CatchingUp;
        }
        if self.is_behind() {
            return Progress::NeedsPage(self.wish(tail));
        }
        self.read_tail(tail, sink)
    }

    /// Whether something due was evicted before it was given: the session fell behind.
    fn has_lost_the_tail(&self, tail: &Tail) -> bool {
        let missed = |s: &Subscription| tail.topic(s.topic).is_none_or(|t| t.missed(self.at));
        self.at < tail.last() && self.subscriptions.iter().any(missed)
    }

    /// Gives the critical events that wait behind others. Everything of their stream up to them is held and given
    /// in order, so the position says the truth. Whether some are left, for which the sink has no room: they wait for
    /// the sink alone, and for no page.
    fn overtake(&mut self, tail: &Tail, sink: &mut impl Sink) -> bool {
        let newest = tail.head().get(StreamId::Crisis);
        if self.position.covers(StreamId::Crisis, newest.sequence)
            || !self.position.covers(StreamId::Crisis, tail.base().sequence(StreamId::Crisis))
            || self.fills.is_filling()
        {
            return false;
        }
        let places = self.critical_places(tail);
        if places
            .first()
            .is_none_or(|&first| self.stage == Stage::Live && self.is_next(tail, first))
        {
            return false;
        }
        self.aligned = false;
        for at in places {
            let Some(slot) = tail.slot(at) else { continue };
            if sink.is_full() {
                return true;
            }
            let mut after = self.position;
            after.set(StreamId::Crisis, slot.after.get(StreamId::Crisis));
            self.give(&slot.entry, after, None, sink);
        }
        self.position.set(StreamId::Crisis, newest);
        false
    }

    /// The critical events that are due; all tenants have few.
    fn critical_places(&self, tail: &Tail) -> Vec<Local> {
        let is_due = |at: &Local| {
            tail.slot(*at).is_some_and(|slot| {
                slot.entry.envelope.tenant == self.tenant && self.due(&slot.entry).len() > 0
            })
        };
        let given = self.position.sequence(StreamId::Crisis);
        tail.critical_after(given).filter(is_due).collect()
    }

    /// Whether nothing else is due before the place, so that it needs not overtake.
    fn is_next(&self, tail: &Tail, at: Local) -> bool {
        let mut topics = self.subscriptions.iter().filter_map(|s| tail.topic(s.topic));
        topics.all(|topic| topic.after(self.at).next().is_none_or(|first| first >= at))
    }

    fn has_been_given(&self, slot: &Slot) -> bool {
        slot.entry.place.is_some_and(|place| self.position.covers(place.stream, place.sequence))
    }

    fn read_tail(&mut self, tail: &Tail, sink: &mut impl Sink) -> Progress {
        let topics = self.subscriptions.iter().filter_map(|s| tail.topic(s.topic));
        let mut due: Vec<_> = topics
            .filter(|topic| topic.last() > self.at)
            .map(|topic| topic.after(self.at).peekable())
            .collect();
        loop {
            let Some(at) = due.iter_mut().filter_map(|places| places.peek().copied()).min() else {
                self.reach_head(tail);
                return Progress::Idle;
            };
            if sink.is_full() {
                return Progress::Full;
            }
            for places in &mut due {
                places.next_if_eq(&at);
            }
            if let Some(slot) = tail.slot(at) {
                self.give_from_tail(at, slot, sink);
            }
        }
    }

    fn give_from_tail(&mut self, at: Local, slot: &Slot, sink: &mut impl Sink) {
        let is_past = slot.entry.place.is_none() && at <= self.ephemeral_after;
        if !is_past && (self.aligned || !self.has_been_given(slot)) {
            let after = if self.aligned { slot.after } else { self.position.max(&slot.after) };
            self.aligned = self.part().is_none()
                && after.sequences() == slot.after.sequences()
                && !self.fills.at_edge(&after);
            let shared = self.aligned.then_some(slot);
            self.give(&slot.entry, after, shared, sink);
        }
        self.at = at;
    }

    fn reach_head(&mut self, tail: &Tail) {
        self.at = tail.last();
        self.position = self.position.max(tail.head());
        self.aligned = self.part().is_none()
            && self.position.sequences() == tail.head().sequences()
            && !self.fills.at_edge(&self.position);
    }
}
