//! What a client that has come is told unasked, besides its events: the figures that others are told only when they
//! change, and that nothing brings again to who was not there. They come as the events that tell of a change.
//!
//! Asked of the views beside the connection, once; a figure that came live meanwhile is newer and stands.

use std::sync::Arc;

use domain::{Channel, Identity};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::commands::Answer;
use crate::edge::{Edge, Shared, UNAVAILABLE};
use crate::health::HEALTH;
use crate::member::Member;
use crate::tail::{Local, Tail};
use crate::typing::own_event;
use crate::views::{self, Wanted};

/// The channel of administrators.
pub(crate) const ADMIN: &str = "admin";

const BADGE: &str = "notification.badge";
const SESSIONS: &str = "session.active";

/// An event of the greeting.
#[derive(Deserialize)]
pub(crate) struct Figure {
    /// Its name on the wires.
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// Asks for what the client is to be told.
pub(crate) fn greet(edge: &Edge, member: &mut Member) {
    let channels = member.channels();
    for work in works(edge, &member.identity.clone(), &channels) {
        member.greet(work);
    }
}

/// The same for a connection that waits for it itself.
pub(crate) fn works(
    edge: &Edge,
    identity: &Arc<Identity>,
    channels: &[Channel],
) -> Vec<BoxFuture<'static, Answer>> {
    let mut works = Vec::new();
    let admin = channels.iter().find(|channel| channel.as_str() == ADMIN);
    if let Some(admin) = admin.cloned() {
        // First, since it asks nobody: it is told also when no view can be asked.
        let (edge, identity) = (edge.clone(), identity.clone());
        works.push(async move { answer(health(&edge, &identity, &admin)) }.boxed());
    }
    let own = Channel::with_id("user", &identity.user).ok();
    if let Some(own) = own.filter(|own| channels.contains(own)) {
        let (edge, identity) = (edge.clone(), identity.clone());
        works.push(async move { answer(badge(&edge, &identity, &own).await) }.boxed());
    }
    if let Some(admin) = admin.cloned() {
        let (edge, identity) = (edge.clone(), identity.clone());
        works.push(async move { answer(sessions(&edge, &identity, &admin).await) }.boxed());
    }
    works
}

/// What an answer of these works has to tell.
pub(crate) fn figures(answer: &Answer) -> Vec<Figure> {
    let figures = answer.field("figures").filter(|_| answer.is_ok()).cloned();
    figures.and_then(|figures| serde_json::from_value(figures).ok()).unwrap_or_default()
}

fn answer(figures: Option<Value>) -> Answer {
    figures.map_or(UNAVAILABLE.into(), |figures| Answer::done(json!({ "figures": figures })))
}

/// How many notifications the user has not read. Who has never had one is told nothing.
async fn badge(edge: &Shared, identity: &Identity, own: &Channel) -> Option<Value> {
    #[derive(Deserialize)]
    struct Notifications {
        unread: u64,
    }
    let asked_at = edge.hub.with_tail(Tail::last);
    let wanted = Wanted { limit: Some(1), ..Wanted::default() };
    let user = Some(&*identity.user);
    let viewed = views::fetch(edge, identity, "notifications", user, &wanted).await.ok()?;
    let Notifications { unread } = serde_json::from_str(viewed.value.get()).ok()?;
    let data = json!({ "userId": &*identity.user, "unread": unread });
    unless_newer(edge, identity, own, (BADGE, data), asked_at)
}

/// How many sessions run.
async fn sessions(edge: &Shared, identity: &Identity, admin: &Channel) -> Option<Value> {
    let asked_at = edge.hub.with_tail(Tail::last);
    let wanted = Wanted { limit: Some(1), ..Wanted::default() };
    let viewed = views::fetch(edge, identity, "sessions", None, &wanted).await.ok()?;
    let data = json!({ "count": viewed.total? });
    unless_newer(edge, identity, admin, (SESSIONS, data), asked_at)
}

fn unless_newer(
    edge: &Shared,
    identity: &Identity,
    channel: &Channel,
    (kind, data): (&str, Value),
    asked_at: Local,
) -> Option<Value> {
    let is_newer = edge.hub.with_tail(|tail| {
        let topic = tail.topic_of(&identity.tenant, channel).and_then(|id| tail.topic(id));
        let mut since = topic.into_iter().flat_map(|topic| topic.after(asked_at));
        let is_of_kind = |at| tail.slot(at).is_some_and(|it| it.entry.envelope.event_type == kind);
        since.any(is_of_kind)
    });
    if is_newer { None } else { Some(json!([figure(edge, identity, channel, kind, data)?])) }
}

/// How every part of the platform is, as this gateway's administrators have been told.
fn health(edge: &Shared, identity: &Identity, admin: &Channel) -> Option<Value> {
    let states = edge.health.told().into_iter();
    states.map(|data| figure(edge, identity, admin, HEALTH, data)).collect()
}

/// As the event would come.
fn figure(
    edge: &Shared,
    identity: &Identity,
    channel: &Channel,
    kind: &str,
    data: Value,
) -> Option<Value> {
    let name = edge.catalogue.by_type(kind)?.wire.name_for(channel).to_owned();
    let admitted = own_event(edge, &identity.tenant, kind, data)?;
    let data: Value = serde_json::from_slice(&admitted.envelope.data).ok()?;
    Some(json!({ "name": name, "data": data }))
}
