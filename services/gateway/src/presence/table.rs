//! What this gateway knows of all gateways' people: a roster for each scope that somebody here follows, and the
//! lease of each gateway that is heard of. Pure: messages and the time are handed in, what is to be told is handed out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::attendance::{AttendantId, Change};
use super::roster::{Node, Roster};
use super::standing::{Scope, Standing, Told};

/// Scopes that a gateway follows at one time.
const MOST_ROSTERS: usize = 4_096;
/// People that a gateway knows of in all scopes together.
const MOST_PEOPLE: usize = 500_000;
/// A roster that nobody follows is kept this long for the next who asks, in milliseconds.
const KEPT: i64 = 30_000;

/// News of a scope, for those who follow it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Update {
    pub(crate) scope: Scope,
    pub(crate) told: Told,
    pub(crate) followers: Vec<AttendantId>,
}

struct Peer {
    /// Unix milliseconds.
    heard_at: i64,
    /// Its last message.
    number: u64,
}

pub(crate) struct Table {
    own: Node,
    /// In milliseconds: a gateway that is silent for longer is gone.
    lease: i64,
    peers: HashMap<Node, Peer>,
    rosters: HashMap<Scope, Roster>,
}

/// No further scope can be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

/// What came of a message of another gateway.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) updates: Vec<Update>,
    /// It was not known before, and does not know this gateway either.
    pub(crate) is_new: bool,
    /// Its people in these scopes have to be asked for.
    pub(crate) missing: Vec<Scope>,
}

impl Table {
    pub(crate) fn new(own: Node, lease: i64) -> Self {
        Self { own, lease, peers: HashMap::new(), rosters: HashMap::new() }
    }

    /// The other gateways that live.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Node> {
        self.peers.keys()
    }

    pub(crate) fn roster_mut(&mut self, scope: &Scope) -> Option<&mut Roster> {
        self.rosters.get_mut(scope)
    }

    /// A roster to follow a scope by; `own` are the people here.
    pub(crate) fn open(
        &mut self,
        scope: &Scope,
        now: i64,
        own: impl FnOnce() -> Vec<(Arc<str>, Standing)>,
    ) -> Result<&mut Roster, Full> {
        if !self.rosters.contains_key(scope) {
            let known: usize = self.rosters.values().map(Roster::len).sum();
            if self.rosters.len() >= MOST_ROSTERS || known >= MOST_PEOPLE {
                return Err(Full);
            }
            let mut roster = Roster::new(now);
            roster.take_all(&self.own, 0, own(), now);
            self.rosters.insert(scope.clone(), roster);
        }
        let roster = self.rosters.get_mut(scope).ok_or(Full)?;
        roster.asked_at = now;
        Ok(roster)
    }

    pub(crate) fn unfollow(&mut self, scope: &Scope, follower: AttendantId) {
        if let Some(roster) = self.rosters.get_mut(scope) {
            roster.unfollow(follower);
        }
    }

    /// What has changed at this gateway itself.
    pub(crate) fn apply_own(&mut self, number: u64, changes: &[Change], now: i64) -> Vec<Update> {
        let own = self.own.clone();
        self.apply(&own, number, changes, now)
    }

    /// A message of another gateway; without changes it only says that the gateway lives.
    pub(crate) fn hear(&mut self, node: &Node, number: u64, changes: &[Change], now: i64) -> Heard {
        let before = self.peers.get(node).map(|peer| peer.number);
        if *node == self.own || before.is_some_and(|before| number <= before) {
            return Heard::default();
        }
        self.peers.insert(node.clone(), Peer { heard_at: now, number });
        if before.is_none_or(|before| number != before + 1) {
            self.rosters.values_mut().for_each(|roster| roster.missed_some(node));
        }
        let updates = self.apply(node, number, changes, now);
        let missing = self.rosters.iter().filter(|(_, roster)| roster.misses(node));
        let missing = missing.map(|(scope, _)| scope.clone()).collect();
        Heard { updates, is_new: before.is_none(), missing }
    }

    fn apply(&mut self, node: &Node, number: u64, changes: &[Change], now: i64) -> Vec<Update> {
        let mut updates = Vec::new();
        for Change { scope, user, standing } in changes {
            let Some(roster) = self.rosters.get_mut(scope) else { continue };
            let told = roster.hear(node, number, user, standing.clone(), now);
            updates.extend(told.and_then(|told| update(scope, roster, told)));
        }
        updates
    }

    /// Another gateway's answer: all of its people in a scope.
    pub(crate) fn take_all(
        &mut self,
        node: &Node,
        number: u64,
        scope: &Scope,
        people: Vec<(Arc<str>, Standing)>,
        now: i64,
    ) -> Vec<Update> {
        let Some(roster) = self.rosters.get_mut(scope) else { return Vec::new() };
        if *node == self.own {
            return Vec::new();
        }
        // Who was there when somebody began to follow is no news, but who came while this was being asked for is.
        let begun_at = if roster.is_begun() { i64::MIN } else { roster.opened_at };
        let old = people.iter().filter(|(_, standing)| standing.since < begun_at);
        let old: HashSet<Arc<str>> = old.map(|(user, _)| user.clone()).collect();
        let told = roster.take_all(node, number, people, now);
        let told = told.into_iter().filter(|told| !old.contains(&told.user));
        told.filter_map(|told| update(scope, roster, told)).collect()
    }

    /// Lets go of gateways that have been silent for too long, and of rosters that nobody has asked for.
    pub(crate) fn expire(&mut self, now: i64) -> Vec<Update> {
        let is_over = |peer: &Peer| peer.heard_at + self.lease <= now;
        let lost = self.peers.iter().filter(|(_, peer)| is_over(peer));
        let lost: Vec<_> = lost.map(|(node, peer)| (node.clone(), peer.heard_at)).collect();
        let mut updates = Vec::new();
        for (node, heard_at) in lost {
            self.peers.remove(&node);
            for (scope, roster) in &mut self.rosters {
                let told = roster.drop_gateway(&node, heard_at);
                updates.extend(told.into_iter().filter_map(|told| update(scope, roster, told)));
            }
        }
        self.rosters.retain(|_, roster| roster.is_followed() || roster.asked_at + KEPT > now);
        updates
    }

    /// This gateway itself could not listen: nobody's silence means anything.
    pub(crate) fn excuse(&mut self, now: i64) {
        self.peers.values_mut().for_each(|peer| peer.heard_at = now);
    }
}

fn update(scope: &Scope, roster: &Roster, told: Told) -> Option<Update> {
    let followers: Vec<_> = roster.followers().collect();
    (!followers.is_empty()).then(|| Update { scope: scope.clone(), told, followers })
}
