//! What gateways say to each other about who is with them, as JSON. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use domain::{Channel, Tenant};
use serde::{Deserialize, Serialize};

use super::attendance::{Change, Counts};
use super::standing::{Scope, Standing};

/// Where all gateways tell what has changed, and that they live.
pub(crate) const NEWS: &str = "gateway.presence.news.*";

/// Where one gateway tells it.
pub(crate) fn news_of(node: &str) -> String {
    format!("gateway.presence.news.{node}")
}

/// Where everybody is asked.
pub(crate) const ASK_ALL: &str = "gateway.ask.all";

/// Where one gateway is asked.
pub(crate) fn ask_one(node: &str) -> String {
    format!("gateway.ask.node.{node}")
}

/// The most people of one answer: it has to fit into a message.
pub(crate) const MOST_PEOPLE: usize = 10_000;
/// The most rooms of one answer.
pub(crate) const MOST_ROOMS: usize = 5_000;

#[derive(Serialize, Deserialize)]
pub(crate) struct News {
    pub(crate) node: Arc<str>,
    /// One more than that of the message before, so that a loss is noticed.
    pub(crate) number: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Said>,
}

#[derive(Serialize, Deserialize)]
struct Said {
    t: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<String>,
    #[serde(flatten)]
    person: Person,
}

/// A user's devices here.
#[derive(Serialize, Deserialize)]
struct Person {
    u: Arc<str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    live: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leaving: Vec<u32>,
    #[serde(default, skip_serializing_if = "is_zero")]
    since: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    at: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Person {
    fn new(user: &Arc<str>, standing: Standing) -> Self {
        let Standing { live, leaving, since, left_at } = standing;
        Self { u: user.clone(), live, leaving, since, at: left_at }
    }

    fn read(self) -> (Arc<str>, Standing) {
        let Self { u, live, leaving, since, at } = self;
        (u, Standing { live, leaving, since, left_at: at }.tidy())
    }
}

fn read_scope(tenant: &str, channel: Option<&str>) -> Option<Scope> {
    let tenant = Tenant::parse(tenant).ok()?;
    let channel = channel.map(Channel::parse).transpose().ok()?;
    Some(Scope { tenant, channel })
}

impl News {
    pub(crate) fn write(node: &Arc<str>, number: u64, changes: &[Change]) -> Bytes {
        let said = |change: &Change| Said {
            t: change.scope.tenant.to_string(),
            c: change.scope.channel.as_ref().map(Channel::to_string),
            person: Person::new(&change.user, change.standing.clone()),
        };
        let news = Self { node: node.clone(), number, changes: changes.iter().map(said).collect() };
        encode(&news)
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    pub(crate) fn changes(self) -> Vec<Change> {
        let change = |said: Said| {
            let scope = read_scope(&said.t, said.c.as_deref())?;
            let (user, standing) = said.person.read();
            Some(Change { scope, user, standing })
        };
        self.changes.into_iter().filter_map(change).collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub(crate) enum Question {
    /// Who is in these scopes.
    People { from: Arc<str>, scopes: Vec<(String, Option<String>)> },
    /// How many connections a tenant has.
    Connections { from: Arc<str>, tenant: String },
}

impl Question {
    pub(crate) fn people(from: &Arc<str>, scopes: &[Scope]) -> Self {
        let name = |scope: &Scope| {
            (scope.tenant.to_string(), scope.channel.as_ref().map(Channel::to_string))
        };
        Self::People { from: from.clone(), scopes: scopes.iter().map(name).collect() }
    }

    pub(crate) fn write(&self) -> Bytes {
        encode(self)
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    pub(crate) fn from(&self) -> &Arc<str> {
        match self {
            Self::People { from, .. } | Self::Connections { from, .. } => from,
        }
    }
}

pub(crate) fn scopes(named: &[(String, Option<String>)]) -> Vec<Scope> {
    let named = named.iter();
    named.filter_map(|(tenant, channel)| read_scope(tenant, channel.as_deref())).collect()
}

/// One gateway's people in some scopes. A scope that is not there did not fit, and is asked for again.
#[derive(Serialize, Deserialize)]
pub(crate) struct People {
    pub(crate) node: Arc<str>,
    /// Its last news when it answered.
    pub(crate) number: u64,
    rosters: Vec<OneRoster>,
}

#[derive(Serialize, Deserialize)]
struct OneRoster {
    t: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<String>,
    people: Vec<Person>,
}

/// One scope of an answer.
pub(crate) type Answered = (Scope, Vec<(Arc<str>, Standing)>);

impl People {
    pub(crate) fn write(node: &Arc<str>, number: u64, answers: Vec<Answered>) -> Bytes {
        let mut left = MOST_PEOPLE;
        let mut rosters = Vec::new();
        for (scope, people) in answers {
            if !rosters.is_empty() && people.len() > left {
                break;
            }
            let people: Vec<_> = people.into_iter().take(MOST_PEOPLE).collect();
            left = left.saturating_sub(people.len());
            rosters.push(OneRoster {
                t: scope.tenant.to_string(),
                c: scope.channel.map(|channel| channel.to_string()),
                people: people.into_iter().map(|(user, it)| Person::new(&user, it)).collect(),
            });
        }
        encode(&Self { node: node.clone(), number, rosters })
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    pub(crate) fn answers(self) -> Vec<Answered> {
        let answer = |roster: OneRoster| {
            let scope = read_scope(&roster.t, roster.c.as_deref())?;
            Some((scope, roster.people.into_iter().map(Person::read).collect()))
        };
        self.rosters.into_iter().filter_map(answer).collect()
    }
}

/// One gateway's connections of one tenant.
#[derive(Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) node: Arc<str>,
    pub(crate) clients: u64,
    pub(crate) authenticated: u64,
    pub(crate) rooms: HashMap<String, u64>,
    /// There are more rooms than an answer holds; these are the fullest.
    #[serde(default)]
    pub(crate) more: bool,
}

impl Connections {
    pub(crate) fn of(node: &Arc<str>, counts: Counts) -> Self {
        let mut rooms: Vec<_> = counts.rooms.into_iter().collect();
        let more = rooms.len() > MOST_ROOMS;
        if more {
            rooms.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
            rooms.truncate(MOST_ROOMS);
        }
        Self {
            node: node.clone(),
            clients: counts.clients,
            authenticated: counts.authenticated,
            rooms: rooms.into_iter().map(|(channel, count)| (channel.to_string(), count)).collect(),
            more,
        }
    }

    pub(crate) fn write(&self) -> Bytes {
        encode(self)
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    // Strings, numbers and lists of them cannot fail.
    serde_json::to_vec(value).unwrap_or_default().into()
}
