//! The newest part of the merged log in memory, bounded in bytes, indexed by channel.
//!
//! The gateway merges its streams into one local order; at every point of it there is exactly one position.
//! So a frame is encoded once and shared, body and cursor, by all sessions that stand right before its event.
//! Ephemeral events take a place in the local order without moving the position.
//! Pure: it knows neither sockets nor NATS.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::position::{Position, StreamPosition};
use domain::{Channel, StreamId, Tenant};

use crate::entry::Entry;

mod slot;
#[cfg(test)]
mod tests;
mod topic;

pub(crate) use slot::Slot;
use topic::Topics;
pub(crate) use topic::{Topic, TopicId};

/// A place in the local order; the first entry has 1.
pub(crate) type Local = u64;

pub(crate) struct Tail {
    slots: VecDeque<Slot>,
    /// The local place of the first slot.
    first: Local,
    /// The position right before the first slot.
    base: Position,
    head: Position,
    /// Per stream (sequence, local place) of what is held, ascending.
    streams: [VecDeque<(u64, Local)>; domain::stream::COUNT],
    topics: Topics,
    bytes: usize,
    limit: usize,
    /// How often a stream was found put back; sessions that began before must start anew.
    rewinds: u32,
}

impl Tail {
    /// `base` is the position from which the feed begins; `limit` bounds the entries' bytes.
    pub(crate) fn new(base: Position, limit: usize) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 1,
            base,
            head: base,
            streams: Default::default(),
            topics: Topics::default(),
            bytes: 0,
            limit,
            rewinds: 0,
        }
    }

    /// Appends an event; its place in the local order.
    pub(crate) fn push(&mut self, entry: Arc<Entry>) -> Local {
        let at = self.last() + 1;
        if let Some(place) = entry.place {
            let epoch = self.head.get(place.stream).epoch;
            self.head.set(place.stream, place.position(epoch));
            self.streams[place.stream.index()].push_back((place.sequence, at));
        }
        for channel in &entry.envelope.channels {
            self.topics.index(&entry.envelope.tenant, channel, at, self.first);
        }
        self.bytes += entry.size();
        self.slots.push_back(Slot::new(entry, self.head));
        while self.bytes > self.limit && self.slots.len() > 1 {
            self.evict();
        }
        at
    }

    fn evict(&mut self) {
        let Some(slot) = self.slots.pop_front() else { return };
        self.bytes -= slot.entry.size();
        self.base = slot.after;
        for channel in &slot.entry.envelope.channels {
            self.topics.evict(&slot.entry.envelope.tenant, channel, self.first);
        }
        if let Some(place) = slot.entry.place {
            self.streams[place.stream.index()].pop_front();
        }
        self.first += 1;
    }

    /// A stream was put back or made anew: nothing that is held of it can be trusted.
    /// Everything held is dropped, and every session is told to start anew behind a gap.
    pub(crate) fn restart(&mut self, stream: StreamId, at: StreamPosition) {
        while !self.slots.is_empty() {
            self.evict();
        }
        self.head.set(stream, at);
        self.base = self.head;
        self.rewinds += 1;
    }

    pub(crate) fn rewinds(&self) -> u32 {
        self.rewinds
    }

    /// The last place in the local order.
    pub(crate) fn last(&self) -> Local {
        self.first + self.slots.len() as u64 - 1
    }

    /// The position right before the oldest entry held.
    pub(crate) fn base(&self) -> &Position {
        &self.base
    }

    /// The position after the newest entry.
    pub(crate) fn head(&self) -> &Position {
        &self.head
    }

    pub(crate) fn slot(&self, at: Local) -> Option<&Slot> {
        self.slots.get(usize::try_from(at.checked_sub(self.first)?).ok()?)
    }

    /// The position after everything up to `at`.
    pub(crate) fn position_at(&self, at: Local) -> &Position {
        self.slot(at).map_or(if at < self.first { &self.base } else { &self.head }, |s| &s.after)
    }

    /// An event by its place in the log, if it is held.
    pub(crate) fn find(&self, stream: StreamId, sequence: u64) -> Option<&Arc<Entry>> {
        let held = &self.streams[stream.index()];
        let i = held.binary_search_by_key(&sequence, |&(sequence, _)| sequence).ok()?;
        self.slot(held[i].1).map(|slot| &slot.entry)
    }

    /// The places of critical events behind a sequence of their stream, ascending. Critical are all events of one
    /// stream, so that overtaking never leaves a hole in a stream's order.
    pub(crate) fn critical_after(&self, sequence: u64) -> impl Iterator<Item = Local> + '_ {
        let held = &self.streams[StreamId::Crisis.index()];
        let first = held.partition_point(|&(known, _)| known <= sequence);
        held.range(first..).map(|&(_, at)| at)
    }

    /// Where a holder of `position` goes on: everything up to the place returned has been given to it.
    /// `None` when it misses something that is not held any more.
    pub(crate) fn locate(&self, position: &Position) -> Option<Local> {
        if !position.includes(&self.base) {
            return None;
        }
        let next = StreamId::ALL.into_iter().filter_map(|stream| {
            let held = &self.streams[stream.index()];
            let i = held.partition_point(|&(sequence, _)| position.covers(stream, sequence));
            held.get(i).map(|&(_, at)| at)
        });
        Some(next.min().map_or(self.last(), |at| at - 1))
    }

    /// Keeps a channel's index for a session; undone by [`Tail::unsubscribe`].
    pub(crate) fn subscribe(&mut self, tenant: &Tenant, channel: &Channel) -> TopicId {
        self.topics.subscribe(tenant, channel, self.first)
    }

    pub(crate) fn unsubscribe(&mut self, tenant: &Tenant, channel: &Channel) {
        self.topics.unsubscribe(tenant, channel);
    }

    pub(crate) fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(id)
    }

    /// The tenants of which somebody is in a channel.
    pub(crate) fn tenants_in(&self, channel: &Channel) -> Vec<Tenant> {
        self.topics.tenants_in(channel)
    }

    pub(crate) fn topic_of(&self, tenant: &Tenant, channel: &Channel) -> Option<TopicId> {
        self.topics.find(tenant, channel)
    }
}
