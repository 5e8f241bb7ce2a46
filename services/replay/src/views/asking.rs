//! One question about a view: now from the table, earlier from a mark and the events behind it.

use std::sync::Arc;
use std::time::Duration;

use domain::providers::callerdesk::last_ten_digits;
use domain::replay::view::{
    ContactAnswer, ContactRequest, MOST, ViewAnswer, ViewPlace, ViewRequest,
};
use domain::replay::{Sequences, refusal};
use domain::views::{self, Detail, View};
use domain::{StreamId, Tenant};
use runtime::log_reader::LogReader;
use runtime::nats::Nats;
use serde_json::value::RawValue;

use super::folded::Folded;
use super::table::{Asked, Plan, Table};
use super::{Views, reading};
use crate::answer::Refusal;

/// How long a question waits for the fold to be where it must be.
const FOLDED_WITHIN: Duration = Duration::from_millis(1_500);
const LOG_WITHIN: Duration = Duration::from_secs(2);
const LIMIT: usize = 100;
/// The most bytes of a page, well below what the server carries in one message.
const LARGEST: usize = 1024 * 1024;

/// The stream of contacts, which calls are joined with.
const CONTACTS: StreamId = StreamId::Messages;

pub(super) struct Reader {
    views: Arc<Views>,
    log: LogReader,
}

/// What was found, and where to go on.
#[derive(Clone)]
struct Found {
    value: String,
    after: Option<String>,
    total: Option<usize>,
}

/// A question with its defaults.
#[derive(Clone, Copy)]
struct Question<'a> {
    view: &'static View,
    key: Option<&'a str>,
    after: Option<&'a str>,
    limit: usize,
    since: Option<&'a str>,
}

impl Question<'_> {
    fn asked(&self, detail: Detail) -> Asked<'_> {
        Asked { detail, limit: self.limit, since: self.since }
    }
}

impl Reader {
    pub(super) fn new(nats: &Nats, views: Arc<Views>) -> Self {
        Self { views, log: nats.log_reader().with_deadline(LOG_WITHIN) }
    }

    pub(super) async fn answer(
        &self,
        tenant: &Tenant,
        asked: ViewRequest,
    ) -> Result<ViewAnswer, Refusal> {
        let view = views::find(&asked.view)
            .ok_or_else(|| Refusal::new(refusal::NOT_FOUND, "there is no such view"))?;
        let limit = asked.limit.unwrap_or(LIMIT);
        if !(1..=MOST).contains(&limit) {
            return Err(Refusal::new(refusal::BAD_REQUEST, format!("limit is 1 to {MOST}")));
        }
        let question = Question {
            view,
            key: asked.key.as_deref(),
            after: asked.after.as_deref(),
            limit,
            since: asked.since.as_deref(),
        };
        let mut whole: Option<Found> = None;
        let mut places = Vec::with_capacity(2);
        for part in views::parts(view) {
            // A page ends with the part that has more; one entry is told by the part that has it.
            if whole.as_ref().is_some_and(|found| found.is_enough(&question)) {
                break;
            }
            let question = Question { view: part, ..question };
            let after = question.after.filter(|_| whole.is_none());
            let (found, place) = self
                .part(tenant, &Question { after, ..question }, asked.at, asked.at_least)
                .await?;
            whole =
                Some(whole.map_or_else(|| found.clone(), |whole| whole.with(&found, &question)));
            places.push(place);
        }
        if asked.at.is_none() && matches!(view.name, "calls" | "active-calls") {
            places.push(place(&self.views.live(CONTACTS)));
        }
        let found = whole.unwrap_or_else(|| Found::nothing(&question));
        let value = json(found.value)?;
        Ok(ViewAnswer { value, after: found.after, total: found.total, places })
    }

    async fn part(
        &self,
        tenant: &Tenant,
        question: &Question<'_>,
        at: Option<Sequences>,
        at_least: Option<Sequences>,
    ) -> Result<(Found, ViewPlace), Refusal> {
        let stream = question.view.stream;
        let wanted = |all: Option<Sequences>| all.map(|all| all[stream.index()]);
        let at = wanted(at);
        self.wait_for(stream, at.max(wanted(at_least))).await?;
        match at {
            Some(at) => self.earlier(tenant, question, at).await,
            None => {
                let folded = self.views.live(stream);
                let joined = |shown| self.joined(tenant, question.view, shown);
                Ok((now(&folded, tenant, question, joined)?, place(&folded)))
            }
        }
    }

    /// What is shown as of now, with what other streams know of it.
    fn joined(&self, tenant: &Tenant, view: &View, shown: String) -> String {
        let Some(number) = views::number_of(view, &shown) else { return shown };
        let contact = self.contact(tenant, &number);
        contact.and_then(|contact| views::with_contact(&shown, &contact)).unwrap_or(shown)
    }

    fn contact(&self, tenant: &Tenant, number: &str) -> Option<String> {
        let folded = self.views.live(CONTACTS);
        let table = folded.table(tenant, "contacts")?;
        let asked = Asked { detail: Detail::Line, limit: 1, since: None };
        table.show(table.number(table.find_by(number)?)?, asked)
    }

    /// The contact with a telephone number, however its prefix is written.
    pub(super) fn contact_by_phone(
        &self,
        tenant: &Tenant,
        asked: &ContactRequest,
    ) -> Result<ContactAnswer, Refusal> {
        if !self.views.is_caught_up(CONTACTS) || self.views.live(CONTACTS).is_pending("contacts") {
            return Err(Refusal::not_ready());
        }
        let number = last_ten_digits(&asked.phone);
        let found = number.and_then(|number| self.contact(tenant, &number));
        Ok(ContactAnswer { contact: json(found.unwrap_or_else(|| "null".to_owned()))? })
    }

    /// Until the fold has come to a sequence of the stream.
    async fn wait_for(&self, stream: StreamId, sequence: Option<u64>) -> Result<(), Refusal> {
        if !self.views.is_caught_up(stream) {
            return Err(Refusal::not_ready());
        }
        let Some(sequence) = sequence else { return Ok(()) };
        let mut head = self.views.head(stream);
        let waiting = head.wait_for(|head| *head >= sequence);
        match tokio::time::timeout(FOLDED_WITHIN, waiting).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Refusal::not_ready()),
        }
    }

    async fn earlier(
        &self,
        tenant: &Tenant,
        question: &Question<'_>,
        at: u64,
    ) -> Result<(Found, ViewPlace), Refusal> {
        let stream = question.view.stream;
        let (planned, place) = {
            let folded = self.views.live(stream);
            let place = ViewPlace { sequence: at, stored_at: 0, ..place(&folded) };
            (plan(&folded, tenant, question, at)?, place)
        };
        let Some((shown, plan)) = planned else { return Ok((Found::nothing(question), place)) };
        let Plan { mut scratch, sequences } = plan;
        let messages = self.log.get_many(stream.name(), &sequences).await.map_err(|error| {
            Refusal::new(refusal::UNAVAILABLE, format!("the log cannot be read: {error}"))
        })?;
        for message in messages {
            // Retention was quicker than the question.
            let message = message.ok_or_else(expired)?;
            if let Some(event) = reading::event(&message) {
                scratch.fold(question.view, &event);
            }
        }
        let show = |key: &str, asked: Asked<'_>| scratch.show(question.view, key, asked);
        Ok((shown.write(question, show), place))
    }
}

fn json(text: String) -> Result<Box<RawValue>, Refusal> {
    RawValue::from_string(text)
        .map_err(|_| Refusal::new(refusal::UNAVAILABLE, "the view cannot be written"))
}

fn expired() -> Refusal {
    Refusal::new(refusal::EXPIRED, "that long ago cannot be told any more")
}

fn place(folded: &Folded) -> ViewPlace {
    ViewPlace {
        stream: folded.stream().index() as u8,
        epoch: folded.epoch(),
        sequence: folded.head(),
        stored_at: folded.stored_at(),
    }
}

/// Which entries to show, by their keys.
enum Shown {
    One(String),
    Page { keys: Vec<String>, more: bool, total: usize },
}

impl Shown {
    fn write(
        self,
        question: &Question<'_>,
        show: impl Fn(&str, Asked<'_>) -> Option<String>,
    ) -> Found {
        match self {
            Self::One(key) => {
                let mut asked = question.asked(Detail::Full);
                let mut value = show(&key, asked);
                // An entry with long rows is told with fewer of them.
                while asked.limit > 1 && value.as_ref().is_some_and(|value| value.len() > LARGEST) {
                    asked.limit /= 2;
                    value = show(&key, asked);
                }
                let value = value.unwrap_or_else(|| "null".to_owned());
                Found { value, after: None, total: None }
            }
            Self::Page { keys, mut more, total } => {
                let (mut value, mut after) = (String::from("["), None);
                for key in keys {
                    let line = show(&key, question.asked(Detail::Line)).unwrap_or_default();
                    if value.len() > 1 && value.len() + line.len() > LARGEST {
                        more = true;
                        break;
                    }
                    if value.len() > 1 && !line.is_empty() {
                        value.push(',');
                    }
                    value.push_str(&line);
                    after = Some(key);
                }
                value.push(']');
                Found { value, after: after.filter(|_| more), total: Some(total) }
            }
        }
    }
}

impl Found {
    fn is_enough(&self, question: &Question<'_>) -> bool {
        if question.key.is_some() { self.value != "null" } else { self.after.is_some() }
    }

    /// Adds what another part of the view has.
    fn with(mut self, other: &Self, question: &Question<'_>) -> Self {
        if question.key.is_some() {
            return other.clone();
        }
        if other.value != "[]" {
            self.value.truncate(self.value.len() - 1);
            self.value.push_str(if self.value == "[" { "" } else { "," });
            self.value.push_str(&other.value[1..]);
        }
        self.after.clone_from(&other.after);
        self.total = self.total.zip(other.total).map(|(one, two)| one + two);
        self
    }

    fn nothing(question: &Question<'_>) -> Self {
        match question.key {
            Some(_) => Self { value: "null".to_owned(), after: None, total: None },
            None => Self { value: "[]".to_owned(), after: None, total: Some(0) },
        }
    }
}

fn now(
    folded: &Folded,
    tenant: &Tenant,
    question: &Question<'_>,
    joined: impl Fn(String) -> String,
) -> Result<Found, Refusal> {
    shown(folded, question)?;
    let Some(table) = folded.table(tenant, question.view.name) else {
        return Ok(Found::nothing(question));
    };
    let shown = match question.key {
        Some(key) => Shown::One(key.to_owned()),
        None => {
            let page = table.page(after(table, question)?, question.limit);
            keys(table, page)
        }
    };
    let show = |key: &str, asked: Asked<'_>| table.show(table.number(key)?, asked).map(&joined);
    Ok(shown.write(question, show))
}

/// A view that is new to this node is being built yet.
fn shown(folded: &Folded, question: &Question<'_>) -> Result<(), Refusal> {
    if folded.is_pending(question.view.name) { Err(Refusal::not_ready()) } else { Ok(()) }
}

/// What is to be shown of an earlier moment, and what it takes; `None` where there was nothing.
fn plan(
    folded: &Folded,
    tenant: &Tenant,
    question: &Question<'_>,
    at: u64,
) -> Result<Option<(Shown, Plan)>, Refusal> {
    shown(folded, question)?;
    // A view from a snapshot is being built anew, and then knows its past.
    let is_restored = folded.is_restored(question.view.name);
    let unknown = || if is_restored { Refusal::not_ready() } else { expired() };
    let Some(table) = folded.table(tenant, question.view.name) else {
        return if at < folded.base() { Err(unknown()) } else { Ok(None) };
    };
    let (shown, entries) = match question.key {
        Some(key) => (Shown::One(key.to_owned()), table.number(key).into_iter().collect()),
        None => {
            let page = table.page_at(at, after(table, question)?, question.limit);
            let page = page.ok_or_else(unknown)?;
            let entries = page.entries.clone();
            (keys(table, page), entries)
        }
    };
    let plan = table.plan(&entries, at).ok_or_else(unknown)?;
    Ok(Some((shown, plan)))
}

fn after(table: &Table, question: &Question<'_>) -> Result<Option<u32>, Refusal> {
    let Some(after) = question.after else { return Ok(None) };
    let found = table.number(after).ok_or_else(|| {
        Refusal::new(refusal::BAD_REQUEST, "after is no entry of this view; begin without it")
    })?;
    Ok(Some(found))
}

fn keys(table: &Table, page: super::table::Page) -> Shown {
    let keys = page.entries.iter().map(|entry| table.key(*entry).to_owned()).collect();
    Shown::Page { keys, more: page.more, total: page.total }
}
