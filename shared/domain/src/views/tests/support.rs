//! Rows in memory, and what folding events in some order makes of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::views::{Change, Detail, Entry, Event, Rows, View};

/// An event before it has a place in the log.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) time: String,
    pub(super) channels: String,
    pub(super) data: Vec<u8>,
}

pub(super) fn given(kind: &str, second: u32, data: Value) -> Given {
    let data = data.to_string();
    Given {
        kind: kind.to_owned(),
        id: format!("{kind}-{second}-{}", data.len()),
        time: format!("2026-01-02T03:{:02}:{:02}.000Z", second / 60, second % 60),
        channels: String::new(),
        data: data.into_bytes(),
    }
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Table(pub(super) BTreeMap<(String, String), Vec<u8>>);

impl Rows for Table {
    fn update(&mut self, entry: &str, row: &str, change: &mut dyn FnMut(Option<&[u8]>) -> Change) {
        let key = (entry.to_owned(), row.to_owned());
        match change(self.0.get(&key).map(Vec::as_slice)) {
            Change::Keep => {}
            Change::Put(bytes) => {
                self.0.insert(key, bytes);
            }
            Change::Remove => {
                self.0.remove(&key);
            }
        }
    }

    fn clear(&mut self, entry: &str) {
        self.0.retain(|(of, _), _| of != entry);
    }
}

impl Table {
    pub(super) fn fold<'a>(view: &View, events: impl IntoIterator<Item = &'a Given>) -> Self {
        let mut table = Self::default();
        for (place, event) in events.into_iter().enumerate() {
            table.take(view, event, place as u64 + 1);
        }
        table
    }

    pub(super) fn take(&mut self, view: &View, given: &Given, sequence: u64) {
        let event = Event {
            kind: &given.kind,
            id: &given.id,
            sequence,
            time: &given.time,
            channels: &given.channels,
            data: &given.data,
        };
        (view.fold)(&event, self);
    }

    /// The rows of one entry.
    pub(super) fn of(&self, key: &str) -> BTreeMap<(String, String), Vec<u8>> {
        let own = self.0.iter().filter(|((entry, _), _)| entry == key);
        own.map(|(key, row)| (key.clone(), row.clone())).collect()
    }

    pub(super) fn show(&self, view: &View, key: &str) -> Value {
        self.show_since(view, key, None)
    }

    pub(super) fn show_since(&self, view: &View, key: &str, since: Option<&str>) -> Value {
        let of = |(entry, row): &(String, String)| entry == key && !row.is_empty();
        let rows: Vec<(&str, &[u8])> =
            self.0.iter().filter(|(k, _)| of(k)).map(|((_, row), b)| (&**row, &**b)).collect();
        let head = self.0.get(&(key.to_owned(), String::new())).map(Vec::as_slice);
        let entry = Entry { key, head, rows: &rows, limit: 100, more: false, since };
        let shown = (view.show)(&entry, Detail::Full);
        shown.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    /// The keys that a list shows.
    pub(super) fn listed(&self, view: &View) -> Vec<&str> {
        let heads = self.0.iter().filter(|((_, row), _)| row.is_empty());
        heads.filter(|(_, b)| view.listing.shows(Some(b))).map(|((entry, _), _)| &**entry).collect()
    }
}

#[track_caller]
pub(super) fn includes(whole: &Value, part: Value) {
    for (name, value) in part.as_object().unwrap() {
        assert_eq!(&whole[name], value, "{name} in {whole}");
    }
}

pub(super) fn twilio(second: u32, sequence: u32, status: &str) -> Given {
    let data = json!({ "callSid": "CA1", "provider": "twilio", "status": status, "sequence": sequence,
        "from": "+15005550006", "to": "+14155551212", "direction": "outbound-api" });
    given("call.update", second, data)
}
