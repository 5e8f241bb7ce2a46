//! The read side's views: pure folds of events into rows, and how rows are shown.
//!
//! A view is a map of entries (a call, a user's notifications); an entry has a head, the row without a name, and may
//! have more rows, so that what grows (a transcript, notes) is never written anew as a whole. A row is a JSON object
//! in a canonical form. Folds know no log, no clock and no tenant, never fail, and pass over what they do not know.
//! A fold of an event changes rows of an entry by that event and that entry's own rows alone: so one entry as of an
//! earlier moment needs only the events that touched it.

mod active_calls;
mod agents;
mod alerts;
mod calls;
mod campaigns;
mod contact_of;
mod contacts;
mod conversations;
mod deliveries;
mod doc;
mod metrics;
mod notifications;
mod sessions;
#[cfg(test)]
mod tests;
mod whatsapp_accounts;

pub use contact_of::{number_of, with_contact};

use crate::stream::StreamId;
use doc::Doc;

/// One stored event as a fold sees it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// `call.update`
    pub kind: &'a str,
    pub id: &'a str,
    /// Its place in the stream.
    pub sequence: u64,
    /// When it happened, in the one form that the log writes, so that texts compare as times do.
    pub time: &'a str,
    /// The channels header.
    pub channels: &'a str,
    pub data: &'a [u8],
}

/// What becomes of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    Keep,
    Put(Vec<u8>),
    Remove,
}

/// Where a fold finds and leaves its rows.
pub trait Rows {
    /// `change` is given what the row is and says what it is to be. The head is the row with an empty name.
    fn update(&mut self, entry: &str, row: &str, change: &mut dyn FnMut(Option<&[u8]>) -> Change);
    /// Removes an entry's head and all its rows.
    fn clear(&mut self, entry: &str);
}

/// Which entries a list of the view shows.
#[derive(Clone, Copy, Debug)]
pub enum Listing {
    /// All that have a head.
    All,
    /// Those whose head says so.
    Chosen(fn(&[u8]) -> bool),
}

impl Listing {
    /// Whether an entry with this head is in the list.
    pub fn shows(self, head: Option<&[u8]>) -> bool {
        match (self, head) {
            (_, None) => false,
            (Self::All, Some(_)) => true,
            (Self::Chosen(chosen), Some(head)) => chosen(head),
        }
    }
}

/// How much of an entry is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// All of it.
    Full,
    /// What a list shows.
    Line,
}

/// An entry as it is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub key: &'a str,
    pub head: Option<&'a [u8]>,
    /// By name, in the names' order. Empty for a [`Detail::Line`], unless the view counts them.
    pub rows: &'a [(&'a str, &'a [u8])],
    /// The most rows to show; of a view that counts them all are there.
    pub limit: usize,
    /// Whether earlier rows are left out.
    pub more: bool,
    /// Only what happened since this day (`2026-01-02`), where the view can tell.
    pub since: Option<&'a str>,
}

/// From an entry's head, what the entry is found by.
pub type FoundBy = fn(&[u8]) -> Option<String>;

/// One view. Its version rises whenever the fold would make other rows of the same events.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub name: &'static str,
    pub version: u32,
    pub stream: StreamId,
    pub listing: Listing,
    /// Whether the lines of a list need the entries' rows too.
    pub counts_rows: bool,
    pub fold: fn(&Event<'_>, &mut dyn Rows),
    /// JSON; `None` where there is nothing to show.
    pub show: fn(&Entry<'_>, Detail) -> Option<String>,
    /// What an entry can be found by besides its key, from its head.
    pub found_by: Option<FoundBy>,
}

/// Every view, in the order in which their names are told to people.
pub const ALL: &[View] = &[
    active_calls::VIEW,
    calls::VIEW,
    sessions::VIEW,
    conversations::VIEW,
    alerts::VIEW,
    notifications::VIEW,
    campaigns::VIEW,
    contacts::VIEW,
    whatsapp_accounts::VIEW,
    agents::VIEW,
    metrics::VIEW,
    deliveries::VIEW,
    metrics::OF_CALLS,
    metrics::OF_THE_AI,
];

/// The views that are shown as one: what is asked for, and what other streams add to its entries.
pub fn parts(view: &'static View) -> Vec<&'static View> {
    let others: &[&str] =
        if view.name == "metrics" { &["call-metrics", "ai-metrics"] } else { &[] };
    std::iter::once(view).chain(others.iter().filter_map(|name| find(name))).collect()
}

/// A view by its name.
pub fn find(name: &str) -> Option<&'static View> {
    ALL.iter().find(|view| view.name == name)
}

/// Changes a row, which begins empty.
fn change_row(rows: &mut dyn Rows, entry: &str, row: &str, change: &mut dyn FnMut(&mut Doc<'_>)) {
    rows.update(entry, row, &mut |old| {
        let mut row = Doc::row(old);
        change(&mut row);
        Change::Put(row.to_bytes())
    });
}
