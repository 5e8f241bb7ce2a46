//! A session's membership in a channel.

use std::sync::Arc;

use domain::Channel;
use domain::position::Position;

use super::{Session, Start};
use crate::entry::Entry;
use crate::tail::{Tail, TopicId};

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub channel: Channel,
    /// What was stored up to here was before the join.
    pub floor: Arc<Position>,
    pub(super) topic: TopicId,
}

impl Subscription {
    /// Whether the event was stored after the join; ephemeral ones always were.
    pub(super) fn includes(&self, entry: &Entry) -> bool {
        entry.place.is_none_or(|place| !self.floor.covers(place.stream, place.sequence))
    }
}

impl Session {
    /// Joins a channel from now on. Joining again changes nothing.
    pub(crate) fn join(&mut self, channel: &Channel, tail: &mut Tail) {
        self.join_above(channel, *tail.head(), tail);
    }

    /// Restores a membership whose floor was kept, or joins with the session's own position.
    pub(crate) fn join_above(&mut self, channel: &Channel, floor: Position, tail: &mut Tail) {
        if self.has(channel) {
            return;
        }
        let topic = tail.subscribe(&self.tenant, channel);
        let floor = match self.subscriptions.last() {
            // Channels that were joined together share their floor.
            Some(last) if *last.floor == floor => last.floor.clone(),
            _ => Arc::new(floor),
        };
        self.subscriptions.push(Subscription { channel: channel.clone(), floor, topic });
    }

    /// Leaves a channel; what is due of it is not given any more.
    pub(crate) fn leave(&mut self, channel: &Channel, tail: &mut Tail) -> bool {
        let Some(at) = self.subscriptions.iter().position(|s| s.channel == *channel) else {
            return false;
        };
        // In the order in which they were joined.
        self.subscriptions.remove(at);
        tail.unsubscribe(&self.tenant, channel);
        self.forget_fill(channel, tail);
        true
    }

    /// Leaves everything, at the end of the connection.
    pub(crate) fn close(&mut self, tail: &mut Tail) {
        for subscription in self.subscriptions.drain(..) {
            tail.unsubscribe(&self.tenant, &subscription.channel);
        }
    }

    /// The tail's numbers of its channels.
    pub(crate) fn topics(&self) -> impl Iterator<Item = TopicId> + '_ {
        self.subscriptions.iter().map(|subscription| subscription.topic)
    }

    pub(crate) fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// The lowest floor a start implies: a session that begins behind a cursor joins its channels there.
    pub(crate) fn floor_of(start: &Start, tail: &Tail) -> Position {
        match start {
            Start::Now => *tail.head(),
            Start::After(cursor) => cursor.position,
        }
    }

    pub(super) fn wishes_of(&self, only: Option<&Channel>) -> Vec<(Channel, Position)> {
        let wanted = |s: &&Subscription| only.is_none_or(|channel| s.channel == *channel);
        let wish = |s: &Subscription| (s.channel.clone(), s.floor.max(&self.position));
        self.subscriptions.iter().filter(wanted).map(wish).collect()
    }
}
