//! Who is at this gateway: connections by user, with their channels, and who has left so recently that it may be
//! on its way back. Pure: the time is handed in, and what has changed is handed out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use domain::{Channel, Role, Tenant};

use super::standing::{DeviceId, Scope, Standing};

/// Connections of one user that are remembered as leaving; a client that reconnects in a loop has no more.
const LEAVING_PER_USER: usize = 8;

pub(crate) type AttendantId = u64;
type Key = (Tenant, Arc<str>);

/// A connection as it comes.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) tenant: Tenant,
    pub(crate) user: Arc<str>,
    pub(crate) role: Role,
    pub(crate) device: DeviceId,
}

struct Connection {
    id: AttendantId,
    device: DeviceId,
    role: Role,
    /// Unix milliseconds.
    since: i64,
    channels: Vec<Channel>,
    /// Unix milliseconds, once it has ended.
    left_at: Option<i64>,
}

/// Somebody's standing somewhere that is not what it was when it was last told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) scope: Scope,
    pub(crate) user: Arc<str>,
    pub(crate) standing: Standing,
}

/// Counts of one tenant's connections here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) clients: u64,
    pub(crate) authenticated: u64,
    pub(crate) rooms: HashMap<Channel, u64>,
}

pub(crate) struct Attendance {
    /// How long somebody who has left may still come back unnoticed, in milliseconds.
    grace: i64,
    people: HashMap<Key, Vec<Connection>>,
    leaving: VecDeque<(i64, Key, AttendantId)>,
    changed: HashSet<(Scope, Arc<str>)>,
    next: AttendantId,
}

impl Attendance {
    pub(crate) fn new(grace: i64) -> Self {
        Self {
            grace,
            people: HashMap::new(),
            leaving: VecDeque::new(),
            changed: HashSet::new(),
            next: 1,
        }
    }

    /// A connection has come; its channels follow.
    pub(crate) fn enter(&mut self, arrival: Arrival, now: i64) -> AttendantId {
        let Arrival { tenant, user, role, device } = arrival;
        let id = self.next;
        self.next += 1;
        let connection =
            Connection { id, device, role, since: now, channels: Vec::new(), left_at: None };
        self.changed.extend(scopes(&tenant, &user, &connection));
        // Most people have one connection, and there are many of them.
        let connections =
            self.people.entry((tenant, user)).or_insert_with(|| Vec::with_capacity(1));
        connections.push(connection);
        id
    }

    /// A connection is in these channels, too.
    pub(crate) fn join<'a>(
        &mut self,
        tenant: &Tenant,
        user: &Arc<str>,
        id: AttendantId,
        channels: impl Iterator<Item = &'a Channel>,
    ) {
        let Some(connections) = self.people.get_mut(&(tenant.clone(), user.clone())) else {
            return;
        };
        let Some(own) = connections.iter_mut().find(|connection| connection.id == id) else {
            return;
        };
        own.channels.reserve_exact(channels.size_hint().0);
        for channel in channels {
            // A connection's own channel concerns nobody else, and its name is a secret of its client.
            if channel.kind() == "connection" || own.channels.contains(channel) {
                continue;
            }
            own.channels.push(channel.clone());
            if is_person(own.role) {
                self.changed.insert((Scope::channel(tenant, channel), user.clone()));
            }
        }
        forget_former(connections, id);
    }

    /// A connection has left a channel, and means it: there is no grace.
    pub(crate) fn part(
        &mut self,
        tenant: &Tenant,
        user: &Arc<str>,
        id: AttendantId,
        channel: &Channel,
    ) {
        let Some(connections) = self.people.get_mut(&(tenant.clone(), user.clone())) else {
            return;
        };
        let Some(own) = connections.iter_mut().find(|connection| connection.id == id) else {
            return;
        };
        own.channels.retain(|other| other != channel);
        if is_person(own.role) {
            self.changed.insert((Scope::channel(tenant, channel), user.clone()));
        }
    }

    /// A connection has ended, however it did.
    pub(crate) fn leave(&mut self, tenant: &Tenant, user: &Arc<str>, id: AttendantId, now: i64) {
        let key = (tenant.clone(), user.clone());
        let Some(connections) = self.people.get_mut(&key) else { return };
        let Some(at) = connections.iter().position(|connection| connection.id == id) else {
            return;
        };
        let mut own = connections.remove(at);
        own.left_at = Some(now);
        self.changed.extend(scopes(tenant, user, &own));
        if is_person(own.role) {
            connections.push(own);
            if let Some(oldest) = one_too_many(connections) {
                self.changed.extend(scopes(tenant, user, &oldest));
            }
            self.leaving.push_back((now + self.grace, key, id));
        } else if connections.is_empty() {
            self.people.remove(&key);
        }
    }

    /// Lets go of who has not come back in time.
    pub(crate) fn expire(&mut self, now: i64) {
        while self.leaving.front().is_some_and(|(due, ..)| *due <= now) {
            let Some((_, key, id)) = self.leaving.pop_front() else { return };
            let Some(connections) = self.people.get_mut(&key) else { continue };
            let found = connections.iter().position(|it| it.id == id && it.left_at.is_some());
            if let Some(at) = found {
                let gone = connections.remove(at);
                self.changed.extend(scopes(&key.0, &key.1, &gone));
            }
            if connections.is_empty() {
                self.people.remove(&key);
            }
        }
    }

    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What has changed since this was asked last, at most so many; the rest comes with the next call.
    pub(crate) fn changes(&mut self, most: usize) -> Vec<Change> {
        let some: Vec<_> = self.changed.iter().take(most).cloned().collect();
        let change = |(scope, user): (Scope, Arc<str>)| {
            self.changed.remove(&(scope.clone(), user.clone()));
            let standing = self.standing(&scope, &user);
            Change { scope, user, standing }
        };
        some.into_iter().map(change).collect()
    }

    fn standing(&self, scope: &Scope, user: &Arc<str>) -> Standing {
        let connections = self.people.get(&(scope.tenant.clone(), user.clone()));
        standing(scope, connections.map(Vec::as_slice).unwrap_or_default())
    }

    /// Everybody who is in a scope here, in no order.
    pub(crate) fn people(&self, scope: &Scope) -> Vec<(Arc<str>, Standing)> {
        let of_tenant = self.people.iter().filter(|((tenant, _), _)| *tenant == scope.tenant);
        let stands = of_tenant.map(|((_, user), it)| (user.clone(), standing(scope, it)));
        stands.filter(|(_, standing)| !standing.is_gone()).collect()
    }

    /// Open connections, whoever they are.
    pub(crate) fn counts(&self, tenant: &Tenant) -> Counts {
        let mut counts = Counts::default();
        let of_tenant = self.people.iter().filter(|((of, _), _)| of == tenant);
        let open = of_tenant.flat_map(|(_, it)| it).filter(|it| it.left_at.is_none());
        for connection in open {
            counts.clients += 1;
            counts.authenticated += u64::from(connection.role != Role::Guest);
            for channel in &connection.channels {
                *counts.rooms.entry(channel.clone()).or_default() += 1;
            }
        }
        counts
    }
}

/// Backends and connections without a credential are no people.
const fn is_person(role: Role) -> bool {
    match role {
        Role::User | Role::Agent | Role::Admin => true,
        Role::Guest | Role::Service => false,
    }
}

fn scopes<'a>(
    tenant: &'a Tenant,
    user: &'a Arc<str>,
    connection: &'a Connection,
) -> impl Iterator<Item = (Scope, Arc<str>)> + 'a {
    let channels = connection.channels.iter().map(|channel| Scope::channel(tenant, channel));
    let all = std::iter::once(Scope::everybody(tenant)).chain(channels);
    all.filter(|_| is_person(connection.role)).map(|scope| (scope, user.clone()))
}

/// The same device is back where it was: what it left behind has nothing more to say.
fn forget_former(connections: &mut Vec<Connection>, id: AttendantId) {
    if connections.iter().all(|connection| connection.left_at.is_none()) {
        return;
    }
    let own = connections.iter().find(|connection| connection.id == id);
    let Some((device, channels)) = own.map(|own| (own.device, own.channels.clone())) else {
        return;
    };
    connections.retain(|other| {
        other.left_at.is_none()
            || other.device != device
            || !other.channels.iter().all(|channel| channels.contains(channel))
    });
}

fn one_too_many(connections: &mut Vec<Connection>) -> Option<Connection> {
    let left = connections.iter().filter(|connection| connection.left_at.is_some()).count();
    let oldest = connections.iter().position(|connection| connection.left_at.is_some())?;
    (left > LEAVING_PER_USER).then(|| connections.remove(oldest))
}

fn standing(scope: &Scope, connections: &[Connection]) -> Standing {
    let mut standing = Standing::default();
    let is_in = |it: &&Connection| {
        let in_channel = scope.channel.as_ref().is_none_or(|channel| it.channels.contains(channel));
        in_channel && is_person(it.role)
    };
    for connection in connections.iter().filter(is_in) {
        match connection.left_at {
            None => {
                let is_first = standing.live.is_empty() || connection.since < standing.since;
                standing.since = if is_first { connection.since } else { standing.since };
                standing.live.push(connection.device);
            }
            Some(at) => {
                standing.leaving.push(connection.device);
                standing.left_at = standing.left_at.max(at);
            }
        }
    }
    standing.tidy()
}
