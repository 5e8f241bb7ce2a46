//! Joins with `after`: the joining channel is filled up to where the session stands; its other channels wait.
//!
//! A cursor given meanwhile is marked: its position is the joining channel's. The session record keeps what the mark
//! refers to, so that a cut in the middle continues the back-fill on whichever node the client comes back to.

use std::collections::VecDeque;

use domain::Channel;
use domain::cursor::{Cursor, Mark, Part};
use domain::position::Position;

use super::{PartOf, Session, Subscription};
use crate::tail::Tail;

/// What a back-fill gives of its channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// What no other channel of the session has given already.
    Missed,
    /// That too: the client has been given a snapshot since, which may not know of it.
    All,
}

/// One back-fill, as the session record keeps it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Fill {
    /// Which of the session's joins with `after` it is, modulo 128.
    pub joins: u8,
    pub channel: Channel,
    /// Where the channel was joined.
    pub after: Position,
    /// What was given of the channel's next event.
    pub part: Option<Part>,
    /// Where the other channels wait.
    pub paused: Position,
    /// What was given of their next event.
    pub paused_part: Option<Part>,
    pub extent: Extent,
}

impl Fill {
    /// Whether a holder of the cursor is behind it: it has been given all of it and something more.
    pub(crate) fn is_passed_by(&self, cursor: &Cursor) -> bool {
        !cursor.mark.filling
            && cursor.position.includes(&self.paused)
            && cursor.position.sequences() != self.paused.sequences()
    }
}

pub(super) struct Current {
    joins: u8,
    pub(super) channel: Channel,
    pub(super) paused: Position,
    paused_part: Option<PartOf>,
    extent: Extent,
}

/// Joins that wait for their turn; more are refused by the limit on channels.
#[derive(Default)]
pub(super) struct Fills {
    joins: u8,
    current: Option<Box<Current>>,
    waiting: VecDeque<Fill>,
    /// Which fill ended last and where, for as long as the session stands exactly there.
    edge: Option<Box<(u8, Position)>>,
}

impl Fills {
    pub(super) fn is_filling(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn current(&self) -> Option<&Current> {
        self.current.as_deref()
    }

    /// Whether an event that came by these of the session's channels is due now. In a back-fill it is not
    /// when a channel that waits has given it already.
    pub(super) fn wants<'a>(&self, mut of: impl Iterator<Item = &'a Subscription>) -> bool {
        match &self.current {
            None => of.next().is_some(),
            Some(fill) if fill.extent == Extent::All => {
                of.any(|subscription| subscription.channel == fill.channel)
            }
            Some(fill) => {
                let mut is_filled = false;
                of.all(|subscription| {
                    is_filled |= subscription.channel == fill.channel;
                    subscription.channel == fill.channel || self.awaits(&subscription.channel)
                }) && is_filled
            }
        }
    }

    /// A cursor at the very end of a fill is still marked: unmarked, it could not be told from one given before.
    pub(super) fn mark(&self, position: &Position) -> Mark {
        match (&self.current, self.edge.as_deref()) {
            (Some(current), _) => Mark { joins: current.joins, filling: true },
            (None, Some(&(joins, _))) if self.at_edge(position) => Mark { joins, filling: true },
            (None, _) => Mark::default(),
        }
    }

    pub(super) fn at_edge(&self, position: &Position) -> bool {
        self.edge.as_deref().is_some_and(|(_, edge)| edge.sequences() == position.sequences())
    }

    /// Whether the channel has yet to be filled: nothing of it before the pause has been given.
    fn awaits(&self, channel: &Channel) -> bool {
        self.waiting.iter().any(|fill| fill.channel == *channel)
    }

    fn number(&mut self) -> u8 {
        self.joins = (self.joins + 1) % 128;
        self.joins
    }

    pub(super) fn abandon(&mut self) {
        self.current = None;
        self.waiting.clear();
        self.edge = None;
    }
}

impl Session {
    /// Joins a channel right after a cursor. What lies between the cursor and the session's own position is given
    /// before anything else. The caller stores the back-fill in the session record before it collects.
    pub(crate) fn join_after(
        &mut self,
        channel: &Channel,
        after: &Cursor,
        extent: Extent,
        tail: &mut Tail,
    ) -> Option<Fill> {
        if self.has(channel) {
            return None;
        }
        self.join_above(channel, after.position, tail);
        // A page that is being read was asked for without the channel.
        self.page = None;
        let paused = self.fills.current().map_or(self.position, |current| current.paused);
        if after.position.includes(&paused) {
            return None;
        }
        let fill = Fill {
            joins: self.fills.number(),
            channel: channel.clone(),
            after: after.position,
            part: after.part,
            paused,
            paused_part: self.paused_part(),
            extent,
        };
        self.fills.waiting.push_back(fill.clone());
        Some(fill)
    }

    /// Whether some channel has not been caught up with since it was joined.
    pub(crate) fn is_filling(&self) -> bool {
        self.fills.is_filling() || !self.fills.waiting.is_empty()
    }

    /// Whether something of the channel is still to be given that its join skipped.
    pub(crate) fn has_yet_to_fill(&self, channel: &Channel) -> bool {
        let is_current = self.fills.current().is_some_and(|current| current.channel == *channel);
        is_current || self.fills.awaits(channel)
    }

    /// How many joins wait for their back-fill.
    pub(crate) fn waiting_fills(&self) -> usize {
        self.fills.waiting.len()
    }

    /// Begins the next waiting back-fill.
    pub(super) fn next_fill(&mut self) {
        if self.fills.is_filling() {
            return;
        }
        if let Some(fill) = self.fills.waiting.pop_front() {
            self.page = None;
            let position = fill.after.min(&self.position);
            let part = PartOf::next(fill.part, &fill.after);
            self.begin(&fill, position, part);
        }
    }

    /// What the other channels' holder has of their next event.
    fn paused_part(&self) -> Option<Part> {
        match self.fills.current() {
            Some(current) => current.paused_part.map(PartOf::of),
            None => self.part(),
        }
    }

    fn begin(&mut self, fill: &Fill, position: Position, part: Option<PartOf>) {
        self.fills.current = Some(Box::new(Current {
            joins: fill.joins,
            channel: fill.channel.clone(),
            paused: fill.paused,
            paused_part: PartOf::next(fill.paused_part, &fill.paused),
            extent: fill.extent,
        }));
        self.position = position;
        self.part = part;
        self.aligned = false;
    }

    /// Continues the back-fills that a record tells of, for a holder that comes back with `cursor`.
    /// Returns what the record is to tell from now on: those the holder has behind it stay as they are, since it may
    /// come back with an older cursor yet.
    pub(crate) fn resume_fills(&mut self, fills: &[Fill], cursor: &Cursor) -> Vec<Fill> {
        self.fills.joins = fills.last().map_or(0, |fill| fill.joins);
        let is_marked = |fill: &Fill| cursor.mark.filling && fill.joins == cursor.mark.joins;
        let begun = fills.iter().rposition(is_marked);
        if let Some(fill) = begun.map(|at| &fills[at]) {
            if cursor.position.includes(&fill.paused) {
                // It had just ended: what the cursor says is about all channels again.
                self.fills.edge = Some(Box::new((fill.joins, fill.paused)));
            } else {
                let part = PartOf::next(cursor.part, &cursor.position);
                self.begin(fill, cursor.position, part);
            }
        }
        let paused = self.fills.current().map_or(self.position, |current| current.paused);
        let (mut kept, mut again) = (Vec::new(), Vec::new());
        for (at, fill) in fills.iter().enumerate() {
            let is_behind = match begun {
                Some(begun) => at <= begun,
                None => fill.is_passed_by(cursor),
            };
            if !self.has(&fill.channel) {
                continue;
            }
            if is_behind {
                kept.push(fill.clone());
                continue;
            }
            // The holder may stand before the place where the fill was to pause the others: it pauses them here.
            let paused_part = self.paused_part();
            let joins = self.fills.number();
            let fill = Fill { joins, paused, paused_part, ..fill.clone() };
            self.fills.waiting.push_back(fill.clone());
            again.push(fill);
        }
        kept.append(&mut again);
        kept
    }

    /// Ends the back-fill once the channel stands where the others wait.
    pub(super) fn finish_fill(&mut self, tail: &Tail) {
        let Some(fill) = &self.fills.current else { return };
        if !self.position.includes(&fill.paused) {
            return;
        }
        self.position = fill.paused;
        self.part = fill.paused_part;
        self.fills.edge = Some(Box::new((fill.joins, fill.paused)));
        self.fills.current = None;
        self.settle(tail);
    }

    /// The channel of a back-fill was left: the others go on.
    pub(super) fn forget_fill(&mut self, channel: &Channel, tail: &Tail) {
        self.fills.waiting.retain(|fill| fill.channel != *channel);
        let current = self.fills.current.take_if(|fill| fill.channel == *channel);
        if let Some(fill) = current {
            self.position = fill.paused;
            self.part = fill.paused_part;
            self.page = None;
            self.settle(tail);
        }
    }
}
