//! Catching up from pages: what a session asks of the read side and how it goes through the answer.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::position::Position;
use domain::{Channel, StreamId};

use super::collect::Progress;
use super::{Session, Sink, Stage};
use crate::entry::Entry;
use crate::tail::Tail;

/// What a session behind the tail needs next.
#[derive(Clone, Debug)]
pub(crate) struct PageWish {
    /// Each channel with the position behind which its events are due.
    pub channels: Vec<(Channel, Position)>,
    /// The session's own position.
    pub from: Position,
    /// Nothing beyond: what follows comes from the tail.
    pub upto: Position,
}

/// An answered wish.
pub(crate) struct Page {
    /// In the order in which they are given.
    pub entries: VecDeque<Arc<Entry>>,
    /// The session's position once the entries have been given.
    pub reached: Position,
}

impl Session {
    /// Takes an answer to the last wish.
    pub(crate) fn turn(&mut self, page: Page) {
        self.page = Some(Box::new(page));
    }

    /// The next wish of a session that is behind the tail.
    pub(super) fn wish(&self, tail: &Tail) -> PageWish {
        let (only, upto) = match self.fills.current() {
            Some(fill) => (Some(&fill.channel), fill.paused),
            None => (None, self.next_target(tail)),
        };
        PageWish { channels: self.wishes_of(only), from: self.position, upto }
    }

    /// Critical events are caught up with first: only then may newer ones overtake without leaving a hole.
    fn next_target(&self, tail: &Tail) -> Position {
        let base = tail.base();
        if self.position.covers(StreamId::Crisis, base.sequence(StreamId::Crisis)) {
            return self.position.max(base);
        }
        let mut target = self.position;
        target.set(StreamId::Crisis, base.get(StreamId::Crisis));
        target
    }

    /// Gives the rest of the page; at its end the session stands where the page says.
    pub(super) fn read_page(&mut self, tail: &Tail, sink: &mut impl Sink) -> Progress {
        while let Some(page) = &mut self.page {
            if sink.is_full() {
                return Progress::Full;
            }
            let Some(entry) = page.entries.pop_front() else {
                self.position = page.reached.max(&self.position);
                self.page = None;
                self.finish_fill(tail);
                break;
            };
            self.give_paged(&entry, sink);
        }
        if !self.fills.is_filling() {
            self.settle(tail);
        }
        Progress::Idle
    }

    fn give_paged(&mut self, entry: &Entry, sink: &mut impl Sink) {
        let Some(place) = entry.place else { return };
        if self.position.covers(place.stream, place.sequence) {
            return;
        }
        let mut after = self.position;
        after.set(place.stream, place.position(self.epoch(place.stream)));
        self.aligned = false;
        self.give(entry, after, None, sink);
    }

    fn epoch(&self, stream: StreamId) -> u32 {
        self.epochs[stream.index()]
    }

    pub(super) fn is_behind(&self) -> bool {
        self.stage == Stage::CatchingUp || self.fills.is_filling()
    }
}
