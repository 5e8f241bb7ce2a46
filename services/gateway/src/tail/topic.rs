//! The channel index of the tail: which places of the local order belong to a channel.

use std::collections::{HashMap, VecDeque};

use domain::{Channel, Tenant};

use super::Local;

/// A channel's number while it has entries or subscribers.
pub(crate) type TopicId = u32;

#[derive(Default)]
pub(crate) struct Topic {
    places: VecDeque<Local>,
    /// The last place that was evicted while the topic existed, or the one before the tail began when it was made.
    evicted: Local,
    subscribers: u32,
}

impl Topic {
    /// Whether something of this channel behind `at` is not held any more.
    pub(crate) fn missed(&self, at: Local) -> bool {
        self.evicted > at
    }

    /// The channel's places behind `at`, ascending.
    pub(crate) fn after(&self, at: Local) -> impl Iterator<Item = Local> + '_ {
        let start = self.places.partition_point(|&place| place <= at);
        self.places.range(start..).copied()
    }

    pub(crate) fn last(&self) -> Local {
        self.places.back().copied().unwrap_or_default()
    }
}

#[derive(Default)]
pub(super) struct Topics {
    names: HashMap<Tenant, HashMap<Channel, TopicId>>,
    topics: Vec<Topic>,
    free: Vec<TopicId>,
}

impl Topics {
    pub(super) fn find(&self, tenant: &Tenant, channel: &Channel) -> Option<TopicId> {
        self.names.get(tenant)?.get(channel).copied()
    }

    /// Of whom somebody subscribes to a channel.
    pub(super) fn tenants_in(&self, channel: &Channel) -> Vec<Tenant> {
        let is_in = |id: &TopicId| self.topics[*id as usize].subscribers > 0;
        let of = self.names.iter().filter(|(_, names)| names.get(channel).is_some_and(is_in));
        of.map(|(tenant, _)| tenant.clone()).collect()
    }

    pub(super) fn get(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(id as usize)
    }

    pub(super) fn index(&mut self, tenant: &Tenant, channel: &Channel, at: Local, first: Local) {
        let id = self.find_or_make(tenant, channel, first - 1);
        self.topics[id as usize].places.push_back(at);
    }

    pub(super) fn evict(&mut self, tenant: &Tenant, channel: &Channel, at: Local) {
        let Some(id) = self.find(tenant, channel) else { return };
        let topic = &mut self.topics[id as usize];
        if topic.places.front() == Some(&at) {
            topic.places.pop_front();
            topic.evicted = at;
        }
        self.drop_unused(tenant, channel, id);
    }

    pub(super) fn subscribe(
        &mut self,
        tenant: &Tenant,
        channel: &Channel,
        first: Local,
    ) -> TopicId {
        let id = self.find_or_make(tenant, channel, first - 1);
        self.topics[id as usize].subscribers += 1;
        id
    }

    pub(super) fn unsubscribe(&mut self, tenant: &Tenant, channel: &Channel) {
        let Some(id) = self.find(tenant, channel) else { return };
        let topic = &mut self.topics[id as usize];
        topic.subscribers = topic.subscribers.saturating_sub(1);
        self.drop_unused(tenant, channel, id);
    }

    fn find_or_make(&mut self, tenant: &Tenant, channel: &Channel, evicted: Local) -> TopicId {
        if let Some(id) = self.find(tenant, channel) {
            return id;
        }
        let topic = Topic { evicted, ..Topic::default() };
        let id = match self.free.pop() {
            Some(id) => {
                self.topics[id as usize] = topic;
                id
            }
            None => {
                self.topics.push(topic);
                (self.topics.len() - 1) as TopicId
            }
        };
        self.names.entry(tenant.clone()).or_default().insert(channel.clone(), id);
        id
    }

    fn drop_unused(&mut self, tenant: &Tenant, channel: &Channel, id: TopicId) {
        let topic = &mut self.topics[id as usize];
        if topic.subscribers > 0 || !topic.places.is_empty() {
            return;
        }
        *topic = Topic::default();
        self.free.push(id);
        if let Some(names) = self.names.get_mut(tenant) {
            names.remove(channel);
            if names.is_empty() {
                self.names.remove(tenant);
            }
        }
    }
}
