//! A connection as a cursor into the log: what it has been given, what it is due next, with which cursor.
//!
//! New, live, slow and returning clients are this one state machine at different positions.
//! Pure: the tail and pages are handed in, frames and wishes are handed out; it knows no socket, wire or clock.

use std::sync::Arc;

use domain::catalogue::MOST_WIRE_NAMES;
use domain::cursor::{Cursor, Part};
use domain::position::{Position, StreamPosition};
use domain::{Channel, StreamId, Tenant};

use crate::entry::{Entry, Place};
use crate::tail::{Local, Slot, Tail};

mod collect;
mod fill;
mod page;
mod subscription;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;

pub(crate) use collect::Progress;
pub(crate) use fill::{Extent, Fill};
pub(crate) use page::{Page, PageWish};
pub(crate) use subscription::Subscription;

/// One frame that is due: a variant of an event and the cursor it carries.
pub(crate) enum Delivery<'a> {
    /// The session stands where the local order is: body and cursor are shared.
    Shared { slot: &'a Slot, variant: usize },
    /// The session is not where the local order is: the shared body with a cursor of its own.
    Own { entry: &'a Entry, variant: usize, cursor: Cursor },
}

/// Takes frames; says whether it takes more.
pub(crate) trait Sink {
    fn deliver(&mut self, delivery: Delivery<'_>);
    fn is_full(&self) -> bool;
}

/// Where a session begins.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// With what is stored from now on.
    Now,
    /// Right after a cursor's position.
    After(Cursor),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Reads the tail, from `at` on.
    Live,
    /// Before what the tail holds: reads pages.
    CatchingUp,
}

pub(crate) struct Session {
    tenant: Tenant,
    /// Everything up to here that is due to the session has been given to it.
    position: Position,
    /// An event of which some frames have been given; void once the position has passed it.
    part: Option<PartOf>,
    stage: Stage,
    /// The place in the tail behind which it reads; meaningful while live.
    at: Local,
    /// Whether `position` is the local order's position at `at`.
    aligned: bool,
    /// The epoch of each stream, which the positions it hands out carry.
    epochs: [u32; domain::stream::COUNT],
    /// [`Tail::rewinds`] when it began.
    rewinds: u32,
    /// Ephemeral events up to this place were before its time.
    ephemeral_after: Local,
    subscriptions: Vec<Subscription>,
    page: Option<Box<Page>>,
    fills: fill::Fills,
}

impl Session {
    /// A session that begins now or behind a cursor; its channels are subscribed afterwards.
    /// `rewinds` is [`Tail::rewinds`] from before the cursor was looked at, so that no rewind in between goes unnoticed.
    pub(crate) fn new(tenant: Tenant, start: &Start, rewinds: u32, tail: &Tail) -> Self {
        let mut session = Self {
            tenant,
            position: *tail.head(),
            part: None,
            stage: Stage::Live,
            at: tail.last(),
            aligned: true,
            epochs: StreamId::ALL.map(|stream| tail.head().get(stream).epoch),
            rewinds,
            ephemeral_after: tail.last(),
            subscriptions: Vec::new(),
            page: None,
            fills: fill::Fills::default(),
        };
        if let Start::After(cursor) = start {
            session.position = cursor.position;
            session.part = PartOf::next(cursor.part, &cursor.position);
            session.settle(tail);
        }
        session
    }

    /// Goes on in the tail where that holds everything the session misses, else from pages.
    fn settle(&mut self, tail: &Tail) {
        match tail.locate(&self.position) {
            Some(at) => {
                self.stage = Stage::Live;
                self.at = at;
                self.aligned = self.part().is_none()
                    && self.position.sequences() == tail.position_at(at).sequences()
                    && !self.fills.at_edge(&self.position);
            }
            None => self.stage = Stage::CatchingUp,
        }
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub(crate) fn is_live(&self) -> bool {
        self.stage == Stage::Live && self.page.is_none() && !self.fills.is_filling()
    }

    /// The session's own position as a cursor: what its holder may resume from right now.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor { position: self.position, mark: self.fills.mark(&self.position), part: self.part() }
    }

    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// Gives up what it missed after a gap: goes on from the head of the log.
    pub(crate) fn restart(&mut self, tail: &Tail) {
        self.position = *tail.head();
        self.epochs = StreamId::ALL.map(|stream| tail.head().get(stream).epoch);
        self.rewinds = tail.rewinds();
        for subscription in &mut self.subscriptions {
            subscription.floor = Arc::new(self.position);
        }
        self.part = None;
        self.page = None;
        self.fills.abandon();
        self.settle(tail);
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = &Channel> + Clone {
        self.subscriptions.iter().map(|subscription| &subscription.channel)
    }

    pub(crate) fn has(&self, channel: &Channel) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.channel == *channel)
    }

    /// The variants of an event that are due: those with a channel the session was in at that point of the stream.
    fn due(&self, entry: &Entry) -> Due {
        let mut due = Due::default();
        for (index, variant) in entry.variants().iter().enumerate() {
            let mut of = self.subscriptions.iter().filter(|subscription| {
                subscription.includes(entry) && variant.channels.contains(&subscription.channel)
            });
            if self.fills.wants(&mut of) {
                due.push(index);
            }
        }
        due
    }

    /// What a cursor at the session's position says of the next event.
    fn part(&self) -> Option<Part> {
        let is_next = |part: &PartOf| !self.position.covers(part.stream, part.sequence);
        self.part.filter(is_next).map(PartOf::of)
    }

    /// Hands out the frames of one event that is next in its stream and moves behind it.
    fn give(
        &mut self,
        entry: &Entry,
        after: Position,
        shared: Option<&Slot>,
        sink: &mut impl Sink,
    ) {
        let due = self.due(entry);
        let given = self.take_part(entry);
        let mut frames = due.iter().filter(|&variant| variant >= given).peekable();
        while let Some(variant) = frames.next() {
            let is_last = frames.peek().is_none();
            if let (true, Some(slot)) = (is_last, shared) {
                sink.deliver(Delivery::Shared { slot, variant });
                continue;
            }
            let cursor = match entry.place {
                Some(place) if !is_last => self.amid(&place, variant),
                _ => self.at(after),
            };
            sink.deliver(Delivery::Own { entry, variant, cursor });
        }
        self.position = after;
        if self.part().is_none() {
            self.part = None;
        }
    }

    fn at(&self, position: Position) -> Cursor {
        let part = self.part.filter(|part| !position.covers(part.stream, part.sequence));
        let part = part.map(PartOf::of);
        Cursor { position, mark: self.fills.mark(&position), part }
    }

    /// The cursor of a frame that others of the same event follow: right before the event, with what was given of it.
    fn amid(&self, place: &Place, variant: usize) -> Cursor {
        let mut position = self.position;
        let before = StreamPosition {
            epoch: self.epochs[place.stream.index()],
            sequence: place.sequence - 1,
            fingerprint: 0,
        };
        position.set(place.stream, before);
        let part = Some(Part { stream: place.stream, given: variant as u8 + 1 });
        Cursor { position, mark: self.fills.mark(&position), part }
    }

    /// Which variants of the event the holder has: those below this one.
    fn take_part(&mut self, entry: &Entry) -> usize {
        let is_of = |part: &PartOf| {
            entry.place.is_some_and(|p| p.stream == part.stream && p.sequence == part.sequence)
        };
        self.part.take_if(|part| is_of(part)).map_or(0, |part| usize::from(part.given))
    }
}

/// What has been given of one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct PartOf {
    stream: StreamId,
    sequence: u64,
    /// Variants below this one.
    given: u8,
}

impl PartOf {
    /// A cursor's part speaks of the event right behind its position.
    fn next(part: Option<Part>, position: &Position) -> Option<Self> {
        let Part { stream, given } = part?;
        Some(Self { stream, sequence: position.sequence(stream) + 1, given })
    }

    fn of(self) -> Part {
        Part { stream: self.stream, given: self.given }
    }
}

/// Which variants of an event are due: one for each of its wire names, which the catalogue bounds.
#[derive(Default)]
struct Due {
    variants: [u8; MOST_WIRE_NAMES],
    len: u8,
}

impl Due {
    fn push(&mut self, variant: usize) {
        if let Some(slot) = self.variants.get_mut(usize::from(self.len)) {
            *slot = variant as u8;
            self.len += 1;
        }
    }

    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.variants.iter().take(self.len()).map(|&variant| usize::from(variant))
    }
}
