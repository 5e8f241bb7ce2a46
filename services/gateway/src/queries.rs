//! What a client may ask over a socket: pages of history, views, metrics, the calls that are going on.
//! Each is answered beside the connection, which goes on delivering meanwhile. Who may see what is decided where
//! the same is asked over HTTP.

use std::sync::Arc;

use domain::catalogue::Snapshot;
use domain::cursor::Cursor;
use domain::position::Position;
use domain::{Channel, Identity};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::commands::Answer;
use crate::commands::desk::{Then, To};
use crate::edge::{Edge, Refused, Shared, UNAVAILABLE};
use crate::history;
use crate::member::Member;
use crate::views::{self, Viewed, Wanted};

const HISTORY: &str = "history";
const VIEW: &str = "view";
const METRICS: &str = "metrics:get";
const CALLS: &str = "subscribe_to_calls";

/// The requests that are served here.
pub(crate) const NAMES: [&str; 4] = [HISTORY, VIEW, METRICS, CALLS];

/// What follows a gap, by the name it has on a WebSocket and with Socket.IO.
pub(crate) const SNAPSHOT: &str = "snapshot";
pub(crate) const THROUGHLINE_SNAPSHOT: &str = "throughline:snapshot";

/// The channel whose snapshot is the open alerts.
const ADMIN: &str = "admin";

/// The event that answers [`CALLS`], and the channel that goes on behind it.
const ACTIVE_CALLS: &str = "active_calls";
const CALLS_CHANNEL: &str = "calls";
const CALLS_VIEW: &str = "active-calls";
/// The calls of one page, and the most pages of one answer; where there are more it says that it is cut.
const CALLS_OF_A_PAGE: usize = 1_000;
const PAGES_OF_CALLS: usize = 5;
/// The most channels that a snapshot follows one gap for; of the rest a client asks for the view itself.
const SNAPSHOTS: usize = 16;

const BAD_QUESTION: Refused =
    Refused::new("bad_query", "The question is not understood; see docs/PROTOCOL.md.");

/// Takes one of [`NAMES`]; `Some` is its answer already.
pub(crate) fn ask(
    edge: &Edge,
    member: &mut Member,
    name: &str,
    argument: Value,
    to: To,
) -> Option<Answer> {
    let (edge, identity) = (edge.clone(), member.identity.clone());
    match name {
        HISTORY => {
            let work = async move { answer(page(&edge, &identity, argument).await) };
            member.question(named(to, HISTORY), Then::Nothing, work.boxed())
        }
        VIEW => {
            let work = async move { answer(view(&edge, &identity, argument).await) };
            member.question(named(to, VIEW), Then::Nothing, work.boxed())
        }
        METRICS => {
            let work = async move { answer(metrics(&edge, &identity, argument).await) };
            member.question(named(to, "metrics"), Then::Nothing, work.boxed())
        }
        _ => {
            let channel = match edge.authorise(&identity, CALLS_CHANNEL) {
                Ok(channel) => channel,
                Err(refused) => return Some(refused.into()),
            };
            let work = async move { answer(calls(&edge, &identity).await) };
            member.question(to, Then::Follow(channel), work.boxed())
        }
    }
}

/// Whoever waits by no id gets the answer as an event.
fn named(to: To, name: &'static str) -> To {
    if to == To::Nobody { To::Event(name) } else { to }
}

fn answer(found: Result<Value, Answer>) -> Answer {
    found.map_or_else(|refused| refused, Answer::done)
}

fn parse<T: DeserializeOwned>(argument: Value) -> Result<T, Answer> {
    serde_json::from_value(argument).map_err(|error| {
        Answer::refused(BAD_QUESTION.code, &format!("The question is not understood: {error}."))
    })
}

async fn page(edge: &Shared, identity: &Identity, argument: Value) -> Result<Value, Answer> {
    let argument = match argument {
        Value::String(channel) => json!({ "channel": channel }),
        argument => argument,
    };
    let asked: history::Asked = parse(argument)?;
    let page = Box::pin(history::page_of(edge, identity, &asked)).await;
    let page = page.map_err(|problem| Answer::from_problem(&problem))?;
    let mut page: Value = serde_json::from_str(&page).map_err(|_| Answer::from(BAD_QUESTION))?;
    page["ok"] = true.into();
    Ok(page)
}

#[derive(Deserialize)]
struct AskedView {
    view: String,
    key: Option<String>,
    #[serde(flatten)]
    wanted: Wanted,
}

async fn view(edge: &Shared, identity: &Identity, argument: Value) -> Result<Value, Answer> {
    let argument = match argument {
        Value::String(view) => json!({ "view": view }),
        argument => argument,
    };
    let AskedView { view, key, wanted } = parse(argument)?;
    let viewed = views::fetch(edge, identity, &view, key.as_deref(), &wanted).await?;
    said(edge, identity, viewed)
}

#[derive(Deserialize)]
struct AskedMetrics {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "startDate")]
    since: Option<String>,
}

async fn metrics(edge: &Shared, identity: &Identity, argument: Value) -> Result<Value, Answer> {
    let argument = if argument.is_null() { json!({}) } else { argument };
    let AskedMetrics { kind, since } = parse(argument)?;
    let wanted = Wanted { since, ..Wanted::default() };
    let viewed = views::fetch(edge, identity, "metrics", kind.as_deref(), &wanted).await?;
    let mut said = said(edge, identity, viewed)?;
    said["type"] = kind.into();
    said["metrics"] = said["value"].take();
    if let Some(fields) = said.as_object_mut() {
        fields.remove("value");
    }
    Ok(said)
}

/// All calls that are going on, page by page. Later pages may tell of later moments, so what follows the list follows
/// the first of them: what a page knew already is told once more.
async fn calls(edge: &Shared, identity: &Identity) -> Result<Value, Answer> {
    let mut wanted = Wanted { limit: Some(CALLS_OF_A_PAGE), ..Wanted::default() };
    let (mut all, mut position): (Vec<Value>, Option<Position>) = (Vec::new(), None);
    for _ in 0..PAGES_OF_CALLS {
        let viewed = views::fetch(edge, identity, CALLS_VIEW, None, &wanted).await?;
        let page: Vec<Value> = serde_json::from_str(viewed.value.get()).map_err(|_| UNAVAILABLE)?;
        all.extend(page);
        let at = viewed.cursor.position;
        position = Some(position.map_or(at, |first| first.min(&at)));
        wanted.after = viewed.after;
        if wanted.after.is_none() {
            break;
        }
    }
    let cursor = Cursor { position: position.unwrap_or_default(), ..Cursor::default() };
    let cursor = edge.hub.keys.encode(&identity.tenant, &cursor);
    let mut said = json!({ "ok": true, "value": all, "cursor": cursor });
    if let Some(after) = wanted.after {
        said["after"] = after.into();
    }
    Ok(said)
}

fn said(edge: &Shared, identity: &Identity, viewed: Viewed) -> Result<Value, Answer> {
    let Viewed { value, cursor, after, total } = viewed;
    let value: Value = serde_json::from_str(value.get()).map_err(|_| UNAVAILABLE)?;
    let cursor = edge.hub.keys.encode(&identity.tenant, &cursor);
    let mut said = json!({ "ok": true, "value": value, "cursor": cursor });
    if let Some(after) = after {
        said["after"] = after.into();
    }
    if let Some(total) = total {
        said["total"] = total.into();
    }
    Ok(said)
}

/// The same for what follows a gap.
pub(crate) fn snapshot_after_gap(to: &To, answer: &Answer) -> Option<Listed> {
    let is_snapshot = matches!(to, To::Event(SNAPSHOT | THROUGHLINE_SNAPSHOT));
    let channel = Channel::parse(answer.text("channel")?).ok()?;
    if is_snapshot { snapshot_of(&channel, answer) } else { None }
}

/// What a channel's followers are given before what follows.
pub(crate) fn snapshot_of(channel: &Channel, answer: &Answer) -> Option<Listed> {
    let list = answer.field("value").filter(|_| answer.is_ok())?;
    let is_cut = answer.field("after").is_some();
    let listed = || Listed { event: ACTIVE_CALLS, list: list.clone(), is_cut };
    (channel.as_str() == CALLS_CHANNEL).then(listed)
}

/// A list that comes as an event.
pub(crate) struct Listed {
    pub(crate) event: &'static str,
    pub(crate) list: Value,
    /// Whether there is more than one answer holds.
    pub(crate) is_cut: bool,
}

impl Listed {
    /// Adds to what is told of it whether it is cut.
    pub(crate) fn marked(&self, mut told: Value) -> Value {
        if self.is_cut {
            told["truncated"] = true.into();
        }
        told
    }
}

/// After a gap: asks for what the catalogue names as the snapshots of the channels.
pub(crate) fn snapshots(
    edge: &Edge,
    member: &mut Member,
    channels: &[Channel],
    name: &'static str,
) {
    for work in snapshots_of(edge, &member.identity.clone(), channels) {
        // Where there is no room for it the client still knows of the gap and can ask.
        let _full = member.question(To::Event(name), Then::Nothing, work);
    }
}

/// The same for a connection that waits for them itself.
pub(crate) fn snapshots_of(
    edge: &Edge,
    identity: &Arc<Identity>,
    channels: &[Channel],
) -> impl Iterator<Item = BoxFuture<'static, Answer>> {
    let wanted = channels.iter().filter(|channel| edge.catalogue.snapshot_of(channel).is_some());
    wanted.take(SNAPSHOTS).map(|channel| {
        let (edge, identity, of) = (edge.clone(), identity.clone(), channel.clone());
        async move { answer(snapshot(&edge, &identity, &of).await) }.boxed()
    })
}

/// Where administrators are told what concerns them.
pub(crate) fn admin_channel() -> Option<Channel> {
    Channel::parse(ADMIN).ok()
}

/// For an administrator who has just come: the alerts that are open, before anybody asks. They count down.
pub(crate) fn open_alerts(edge: &Edge, member: &mut Member, name: &'static str) {
    if let Some(work) = open_alerts_of(edge, &member.identity, &member.channels()) {
        // A connection that has just begun has room for it.
        let _full = member.question(To::Greeting(name), Then::Nothing, work);
    }
}

/// The same for a connection that waits for them itself; `None` where none of its channels tells of alerts.
pub(crate) fn open_alerts_of(
    edge: &Edge,
    identity: &Arc<Identity>,
    channels: &[Channel],
) -> Option<BoxFuture<'static, Answer>> {
    let admin = admin_channel().filter(|admin| channels.contains(admin))?;
    let (edge, identity) = (edge.clone(), identity.clone());
    Some(async move { answer(snapshot(&edge, &identity, &admin).await) }.boxed())
}

/// Whether a snapshot holds anything.
pub(crate) fn is_empty(answer: &Answer) -> bool {
    answer.field("value").and_then(Value::as_array).is_none_or(Vec::is_empty)
}

async fn snapshot(
    edge: &Arc<Shared>,
    identity: &Identity,
    channel: &Channel,
) -> Result<Value, Answer> {
    let Some(Snapshot { view, key }) = edge.catalogue.snapshot_of(channel) else {
        return Err(BAD_QUESTION.into());
    };
    let mut said = if view == CALLS_VIEW {
        calls(edge, identity).await?
    } else {
        let viewed = views::fetch(edge, identity, view, key, &Wanted::default()).await?;
        said(edge, identity, viewed)?
    };
    said["channel"] = channel.as_str().into();
    said["view"] = view.into();
    if let Some(key) = key {
        said["key"] = key.into();
    }
    Ok(said)
}
