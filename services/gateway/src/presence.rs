//! Who is there, over all gateways, told to those who follow it and stored nowhere.
//!
//! Each gateway tells the others what changes among its own clients and that it lives; each works out for its own
//! clients what is news. A gateway that falls silent takes its people with it when its lease ends, and one that
//! has missed something asks for the whole.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::catalogue::Catalogue;
use domain::envelope::rfc3339;
use domain::{Channel, Identity, Tenant};
use runtime::clock;
use runtime::nats::Nats;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tracing::debug;

use crate::edge::{Refused, Shared};
use crate::entry::Entry;
use crate::typing::{Typing, own_event};

mod attendance;
mod exchange;
mod news;
mod roster;
mod standing;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use attendance::AttendantId;
use attendance::{Arrival, Attendance};
pub(crate) use exchange::run;
pub(crate) use news::Connections;
use news::{Answered, MOST_PEOPLE, People, Question};
use roster::Node;
use standing::{Scope, Told, device_id};
use table::{Table, Update};

/// The type of the event.
const UPDATE: &str = "presence.update";
/// A gateway that has not been heard of for this long is gone, or for the grace of a client if that is longer.
const SHORTEST_LEASE: Duration = Duration::from_secs(6);
/// How long gateways may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(750);
/// The most people that a client is told of by one answer.
const LISTED: usize = 1_000;

const OVERLOADED: Refused =
    Refused::new("overloaded", "Too much is going on right now; try again in a moment.");

/// A cheap-clone handle.
#[derive(Clone)]
pub(crate) struct Presence(Arc<Inner>);

struct Inner {
    node: Node,
    state: Mutex<State>,
    /// There is something to tell.
    wake: Notify,
    /// There is somebody to ask: at once, since what happens before the answer counts as known.
    ask: Notify,
    nats: Nats,
    typing: Typing,
    /// The channels on which everybody's coming and going is told.
    announced_on: Vec<Channel>,
}

struct State {
    attendance: Attendance,
    table: Table,
    /// The last message of this gateway's news.
    number: u64,
    /// Scopes that have just been followed, whose people elsewhere are to be asked for.
    wanted: HashSet<Scope>,
    followers: HashMap<AttendantId, Follower>,
}

/// Somebody who is told of others.
#[derive(Default)]
struct Follower {
    scopes: Vec<Scope>,
    /// Its own channel, where it gets what it alone has asked for.
    address: Option<Channel>,
}

/// Who is in a channel.
pub(crate) struct Listing {
    people: Vec<Told>,
    count: usize,
    is_complete: bool,
}

/// What all gateways have of one tenant.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) gateways: Vec<Connections>,
    /// Gateways that live and did not answer.
    pub(crate) silent: Vec<Node>,
}

/// A connection's place among those who are there, given up when it is dropped.
pub(crate) struct Attendant {
    presence: Presence,
    pub(crate) id: AttendantId,
    tenant: Tenant,
    pub(crate) user: Arc<str>,
}

impl Presence {
    pub(crate) fn new(
        node: Arc<str>,
        nats: Nats,
        typing: Typing,
        catalogue: &Catalogue,
        grace: Duration,
    ) -> Self {
        let lease = grace.max(SHORTEST_LEASE).as_millis() as i64;
        let update = catalogue.by_type(UPDATE);
        let announced_on = update.iter().flat_map(|it| it.channel_templates());
        let state = State {
            attendance: Attendance::new(grace.as_millis() as i64),
            table: Table::new(node.clone(), lease),
            number: 0,
            wanted: HashSet::new(),
            followers: HashMap::new(),
        };
        Self(Arc::new(Inner {
            node,
            state: Mutex::new(state),
            wake: Notify::new(),
            ask: Notify::new(),
            nats,
            typing,
            announced_on: announced_on.filter_map(|name| Channel::parse(name).ok()).collect(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has come; its channels follow.
    pub(crate) fn enter(&self, identity: &Identity, device: &str) -> Attendant {
        let arrival = Arrival {
            tenant: identity.tenant.clone(),
            user: identity.user.clone(),
            role: identity.role,
            device: device_id(device),
        };
        let id = self.lock().attendance.enter(arrival, clock::unix_millis());
        self.0.wake.notify_one();
        let (tenant, user) = (identity.tenant.clone(), identity.user.clone());
        Attendant { presence: self.clone(), id, tenant, user }
    }

    /// Who is in a channel, at any gateway. `follower` is in it and is told from now on what changes; it gets that
    /// at its own channel.
    pub(crate) async fn list(
        &self,
        edge: &Shared,
        channel: &Channel,
        tenant: &Tenant,
        follower: Option<(AttendantId, Channel)>,
    ) -> Result<Listing, Refused> {
        let scope = Scope::channel(tenant, channel);
        if self.lock().open(&scope)? {
            return Ok(self.lock().list(&scope, follower));
        }
        let answers = self.ask_all(std::slice::from_ref(&scope)).await;
        let mut state = self.lock();
        state.begin(edge, &scope, answers);
        Ok(state.list(&scope, follower))
    }

    /// Every gateway's people in these scopes, as far as they answer in time.
    async fn ask_all(&self, scopes: &[Scope]) -> Vec<People> {
        let question = Question::people(&self.0.node, scopes);
        let answers = self.gather(&question).await;
        answers.iter().filter_map(|answer| People::read(answer)).collect()
    }

    async fn gather(&self, question: &Question) -> Vec<bytes::Bytes> {
        let others = self.lock().table.peers().count();
        if others == 0 {
            return Vec::new();
        }
        let asked = self.0.nats.gather(news::ASK_ALL, question.write(), others, ANSWER_WITHIN);
        asked.await.inspect_err(|error| debug!(%error, "asking all gateways")).unwrap_or_default()
    }

    /// All gateways' connections of one tenant.
    pub(crate) async fn tally(&self, tenant: &Tenant) -> Tally {
        let (from, name) = (self.0.node.clone(), tenant.to_string());
        let answers = self.gather(&Question::Connections { from, tenant: name }).await;
        let mut gateways: Vec<_> =
            answers.iter().filter_map(|answer| Connections::read(answer)).collect();
        let state = self.lock();
        gateways.push(Connections::of(&self.0.node, state.attendance.counts(tenant)));
        let answered = |node: &Node| gateways.iter().any(|gateway| gateway.node == *node);
        let silent = state.table.peers().filter(|node| !answered(node)).cloned().collect();
        drop(state);
        Tally { gateways, silent }
    }
}

impl State {
    /// Whether the scope's people are known already.
    fn open(&mut self, scope: &Scope) -> Result<bool, Refused> {
        let Self { attendance, table, .. } = self;
        let roster = table.open(scope, clock::unix_millis(), || attendance.people(scope));
        roster.map(|roster| roster.is_begun()).map_err(|_| OVERLOADED)
    }

    fn take(&mut self, edge: &Shared, answers: Vec<People>) {
        let now = clock::unix_millis();
        for answer in answers {
            let (node, number) = (answer.node.clone(), answer.number);
            for (scope, people) in answer.answers() {
                let updates = self.table.take_all(&node, number, &scope, people, now);
                self.tell(edge, updates);
            }
        }
    }

    /// Everybody who was there is known; what follows is news.
    fn begin(&mut self, edge: &Shared, scope: &Scope, answers: Vec<People>) {
        self.take(edge, answers);
        // It may have been let go of meanwhile.
        if self.open(scope).is_ok()
            && let Some(roster) = self.table.roster_mut(scope)
        {
            roster.begin();
        }
    }

    fn list(&mut self, scope: &Scope, follower: Option<(AttendantId, Channel)>) -> Listing {
        let peers: Vec<_> = self.table.peers().cloned().collect();
        let Some(roster) = self.table.roster_mut(scope) else {
            return Listing { people: Vec::new(), count: 0, is_complete: false };
        };
        if let Some((id, address)) = follower {
            roster.follow(id);
            let follower = self.followers.entry(id).or_default();
            follower.address = Some(address);
            follower.add(scope);
        }
        let people: Vec<_> = roster.people().take(LISTED).collect();
        let count = roster.people().count();
        let is_complete = count <= LISTED && !peers.iter().any(|node| roster.misses(node));
        Listing { people, count, is_complete }
    }

    fn unfollow(&mut self, id: AttendantId, scope: &Scope) {
        let Some(follower) = self.followers.get_mut(&id) else { return };
        follower.scopes.retain(|followed| followed != scope);
        self.table.unfollow(scope, id);
    }

    /// Hands updates to those who follow them. Nobody else tells them, so they come in their order.
    fn tell(&self, edge: &Shared, updates: Vec<Update>) {
        let entries: Vec<_> =
            updates.into_iter().filter_map(|update| self.entry(edge, update)).collect();
        if !entries.is_empty() {
            edge.hub.append(entries);
        }
    }

    fn entry(&self, edge: &Shared, update: Update) -> Option<Arc<Entry>> {
        let Update { scope, told, followers } = update;
        let mut data = describe(&told);
        if told.devices == 0 {
            data["lastSeen"] = Value::from(time_of(told.last_seen));
        }
        if let Some(channel) = &scope.channel {
            data["channel"] = Value::from(channel.as_str());
        }
        let mut envelope = own_event(edge, &scope.tenant, UPDATE, data)?.envelope;
        if scope.channel.is_some() {
            // Only those who asked for it.
            let addresses = followers.iter().filter_map(|id| self.followers.get(id));
            envelope.channels = addresses.filter_map(|it| it.address.clone()).collect();
        }
        Some(Entry::signal(envelope, None, &edge.catalogue))
    }
}

impl Follower {
    fn add(&mut self, scope: &Scope) {
        if !self.scopes.contains(scope) {
            self.scopes.push(scope.clone());
        }
    }
}

fn describe(told: &Told) -> Value {
    let status = if told.devices == 0 { "offline" } else { "online" };
    json!({ "userId": &*told.user, "status": status, "devices": told.devices })
}

fn time_of(milliseconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000);
    rfc3339(time.unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

impl Listing {
    pub(crate) fn answer(&self, channel: &Channel) -> Value {
        let users: Vec<_> = self.people.iter().map(describe).collect();
        json!({
            "ok": true,
            "channel": channel.as_str(),
            "users": users,
            "count": self.count,
            "complete": self.is_complete,
        })
    }
}

impl Attendant {
    pub(crate) fn join<'a>(&self, channels: impl Iterator<Item = &'a Channel> + Clone) {
        let mut state = self.presence.lock();
        state.attendance.join(&self.tenant, &self.user, self.id, channels.clone());
        let announced_on = &self.presence.0.announced_on;
        if channels.into_iter().any(|channel| announced_on.contains(channel)) {
            self.follow_everybody(&mut state);
        }
        drop(state);
        self.presence.0.wake.notify_one();
    }

    fn follow_everybody(&self, state: &mut State) {
        let scope = Scope::everybody(&self.tenant);
        match state.open(&scope) {
            Ok(true) => {}
            Ok(false) => {
                state.wanted.insert(scope.clone());
                self.presence.0.ask.notify_one();
            }
            Err(refused) => return debug!(code = refused.code, "nobody can be followed"),
        }
        if let Some(roster) = state.table.roster_mut(&scope) {
            roster.follow(self.id);
            state.followers.entry(self.id).or_default().add(&scope);
        }
    }

    pub(crate) fn part(&self, channel: &Channel) {
        let mut state = self.presence.lock();
        state.attendance.part(&self.tenant, &self.user, self.id, channel);
        state.unfollow(self.id, &Scope::channel(&self.tenant, channel));
        if self.presence.0.announced_on.contains(channel) {
            state.unfollow(self.id, &Scope::everybody(&self.tenant));
        }
        drop(state);
        self.presence.0.wake.notify_one();
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        let mut state = self.presence.lock();
        state.attendance.leave(&self.tenant, &self.user, self.id, clock::unix_millis());
        let followed = state.followers.remove(&self.id).unwrap_or_default();
        followed.scopes.iter().for_each(|scope| state.table.unfollow(scope, self.id));
        drop(state);
        self.presence.0.typing.gone(self.id);
        self.presence.0.wake.notify_one();
    }
}

/// What this gateway answers to another.
fn answer(presence: &Presence, question: &Question) -> Option<bytes::Bytes> {
    let node = &presence.0.node;
    if question.from() == node {
        return None;
    }
    let state = presence.lock();
    Some(match question {
        Question::People { scopes, .. } => {
            let mut left = MOST_PEOPLE;
            let mut answers: Vec<Answered> = Vec::new();
            for scope in news::scopes(scopes) {
                let people = state.attendance.people(&scope);
                left = left.saturating_sub(people.len());
                answers.push((scope, people));
                if left == 0 {
                    break;
                }
            }
            People::write(node, state.number, answers)
        }
        Question::Connections { tenant, .. } => {
            let tenant = Tenant::parse(tenant).ok()?;
            Connections::of(node, state.attendance.counts(&tenant)).write()
        }
    })
}
