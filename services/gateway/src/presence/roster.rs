//! Who is in one scope over all gateways: what each of them says about its own, merged.
//!
//! A rise is told at once. A device that has just left counts until its gateway lets go of it, so a reload or a
//! change of networks, to another gateway too, is no news to anybody. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::attendance::AttendantId;
use super::standing::{DeviceId, Standing, Told};

/// Names one life of a gateway.
pub(crate) type Node = Arc<str>;

/// How far a gateway's word about this scope is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// Everything up to this message of its news.
    Since(u64),
    /// Not from its beginning; what was heard of it last is this message.
    Missing { heard: u64 },
}

#[derive(Default)]
struct Person {
    at: Vec<(Node, Standing)>,
    /// What was told last.
    devices: u32,
    last_seen: i64,
}

#[derive(Default)]
pub(crate) struct Roster {
    gateways: HashMap<Node, Known>,
    people: BTreeMap<Arc<str>, Person>,
    /// Everybody who was there at the beginning is known.
    is_begun: bool,
    followers: HashSet<AttendantId>,
    /// Unix milliseconds.
    pub(crate) opened_at: i64,
    /// Unix milliseconds: when somebody asked last.
    pub(crate) asked_at: i64,
}

impl Roster {
    pub(crate) fn new(now: i64) -> Self {
        Self { opened_at: now, ..Self::default() }
    }

    pub(crate) fn begin(&mut self) {
        self.is_begun = true;
    }

    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }

    pub(crate) fn follow(&mut self, follower: AttendantId) {
        self.followers.insert(follower);
    }

    pub(crate) fn unfollow(&mut self, follower: AttendantId) {
        self.followers.remove(&follower);
    }

    pub(crate) fn followers(&self) -> impl Iterator<Item = AttendantId> + '_ {
        self.followers.iter().copied()
    }

    pub(crate) fn is_followed(&self) -> bool {
        !self.followers.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.people.len()
    }

    /// Everybody who is there, by name.
    pub(crate) fn people(&self) -> impl Iterator<Item = Told> + '_ {
        self.people.iter().filter(|(_, person)| person.devices > 0).map(|(user, person)| Told {
            user: user.clone(),
            devices: person.devices,
            last_seen: person.last_seen,
        })
    }

    /// Whether this gateway's people have to be asked for.
    pub(crate) fn misses(&self, node: &Node) -> bool {
        !matches!(self.gateways.get(node), Some(Known::Since(_)))
    }

    /// Something of this gateway's news was not heard.
    pub(crate) fn missed_some(&mut self, node: &Node) {
        self.gateways.insert(node.clone(), Known::Missing { heard: 0 });
    }

    /// What a gateway said of one user in its message `number`.
    pub(crate) fn hear(
        &mut self,
        node: &Node,
        number: u64,
        user: &Arc<str>,
        standing: Standing,
        now: i64,
    ) -> Option<Told> {
        match self.gateways.get_mut(node) {
            Some(Known::Since(since)) if *since >= number => return None,
            Some(Known::Since(_)) => {}
            Some(Known::Missing { heard }) => *heard = number,
            None => {
                self.gateways.insert(node.clone(), Known::Missing { heard: number });
            }
        }
        self.put(node, user, standing, now)
    }

    /// All of a gateway's people, as they were when it had sent its message `number`.
    pub(crate) fn take_all(
        &mut self,
        node: &Node,
        number: u64,
        people: Vec<(Arc<str>, Standing)>,
        now: i64,
    ) -> Vec<Told> {
        let is_behind =
            matches!(self.gateways.get(node), Some(Known::Missing { heard }) if *heard > number);
        if matches!(self.gateways.get(node), Some(Known::Since(since)) if *since > number) {
            return Vec::new();
        }
        if !is_behind {
            self.gateways.insert(node.clone(), Known::Since(number));
        }
        let named: HashSet<Arc<str>> = people.iter().map(|(user, _)| user.clone()).collect();
        let is_of = |person: &Person| person.at.iter().any(|(of, _)| of == node);
        let others = self.people.iter().filter(|(user, it)| is_of(it) && !named.contains(*user));
        let gone: Vec<_> = others.map(|(user, _)| (user.clone(), Standing::default())).collect();
        let all = people.into_iter().chain(gone);
        all.filter_map(|(user, standing)| self.put(node, &user, standing, now)).collect()
    }

    /// A gateway is there no more, and its people with it; it was heard last at `heard`.
    pub(crate) fn drop_gateway(&mut self, node: &Node, heard: i64) -> Vec<Told> {
        self.gateways.remove(node);
        let is_of = |person: &Person| person.at.iter().any(|(of, _)| of == node);
        let its: Vec<_> =
            self.people.iter().filter(|(_, it)| is_of(it)).map(|(user, _)| user.clone()).collect();
        its.iter().filter_map(|user| self.put(node, user, Standing::default(), heard)).collect()
    }

    /// `now` is when somebody left of whom nobody has said so.
    fn put(&mut self, node: &Node, user: &Arc<str>, said: Standing, now: i64) -> Option<Told> {
        if said.is_gone() && !self.people.contains_key(user) {
            return None;
        }
        let person = self.people.entry(user.clone()).or_default();
        let before = person.at.iter().position(|(of, _)| of == node);
        let before = before.map(|at| person.at.swap_remove(at).1);
        let left_at = match &before {
            // Who was on the way out left when that began.
            Some(before) if said.is_gone() && before.live.is_empty() => before.left_at,
            _ if said.is_gone() => now,
            _ => said.left_at,
        };
        person.last_seen = person.last_seen.max(left_at);
        if !said.is_gone() {
            person.at.push((node.clone(), said));
        }
        let devices = person.count();
        let has_changed = devices != std::mem::replace(&mut person.devices, devices);
        let last_seen = person.last_seen;
        if person.at.is_empty() {
            self.people.remove(user);
        }
        has_changed.then(|| Told { user: user.clone(), devices, last_seen })
    }
}

impl Person {
    /// What is to be told: never more than are there, and who is leaving counts only as long as it was told before.
    fn count(&self) -> u32 {
        let devices = |of: fn(&Standing) -> &Vec<DeviceId>| -> HashSet<DeviceId> {
            self.at.iter().flat_map(|(_, standing)| of(standing)).copied().collect()
        };
        let live = devices(|standing| &standing.live);
        let leaving = devices(|standing| &standing.leaving);
        let (here, all) = (live.len() as u32, live.union(&leaving).count() as u32);
        if all == 0 { 0 } else { here.max(self.devices.min(all)).max(1) }
    }
}
