//! Every type and version of event that was ever written is read for ever (`shared/golden`).
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as the tests themselves do"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use domain::aggregate::RecordedEvent;
use domain::catalogue::{Catalogue, Delivery};
use domain::envelope::{Headers, rfc3339};
use domain::views::{Change, Detail, Entry, Event, Rows};
use domain::{Envelope, aggregates, views};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

#[derive(Deserialize)]
struct Golden {
    subject: String,
    headers: Carried,
    data: Value,
}

#[derive(Deserialize)]
struct Carried(HashMap<String, String>);

impl Headers for Carried {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../golden")
}

/// Name and text of every golden event.
fn files() -> BTreeMap<String, String> {
    let named = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (path.extension()? == "json").then(|| (name, std::fs::read_to_string(&path).unwrap()))
    };
    std::fs::read_dir(folder()).unwrap().filter_map(named).collect()
}

fn decode(text: &str) -> Envelope {
    let golden: Golden = serde_json::from_str(text).unwrap();
    let data = golden.data.to_string().into();
    Envelope::from_message(&golden.subject, &golden.headers, data).unwrap()
}

#[test]
fn every_type_and_version_that_is_stored_has_a_golden_event() {
    let have: BTreeSet<String> = files().into_keys().collect();
    for event in Catalogue::builtin().unwrap().events() {
        if event.delivery != Delivery::Ephemeral {
            let name = format!("{}.{}.json", event.name, event.version);
            assert!(have.contains(&name), "{name} is missing: run `cargo xtask golden`");
        }
    }
}

#[test]
fn a_golden_event_is_never_edited() {
    let sums = std::fs::read_to_string(folder().join("SHA256SUMS")).unwrap();
    let kept: BTreeMap<&str, &str> = sums
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(sum, name)| (name, sum))
        .collect();
    let files = files();
    for (name, sum) in &kept {
        let text = files.get(*name).unwrap_or_else(|| panic!("{name} is gone"));
        let found: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, *sum, "{name} was edited: raise the type's version instead");
    }
    let unlisted: Vec<_> = files.keys().filter(|name| !kept.contains_key(name.as_str())).collect();
    assert!(unlisted.is_empty(), "not in SHA256SUMS: {unlisted:?}; run `cargo xtask golden`");
}

#[test]
fn every_golden_event_is_read_and_fits_its_version() {
    let catalogue = Catalogue::builtin().unwrap();
    for (name, text) in files() {
        let envelope = decode(&text);
        let event = catalogue.by_type(&envelope.event_type).unwrap_or_else(|| panic!("{name}"));
        if event.version == envelope.version {
            let data: Value = serde_json::from_slice(&envelope.data).unwrap();
            event.validate(&data).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}"));
        }
    }
}

#[derive(Default)]
struct Table(BTreeMap<(String, String), Vec<u8>>);

impl Rows for Table {
    fn update(&mut self, entry: &str, row: &str, change: &mut dyn FnMut(Option<&[u8]>) -> Change) {
        let key = (entry.to_owned(), row.to_owned());
        match change(self.0.get(&key).map(Vec::as_slice)) {
            Change::Keep => {}
            Change::Put(bytes) => drop(self.0.insert(key, bytes)),
            Change::Remove => drop(self.0.remove(&key)),
        }
    }

    fn clear(&mut self, entry: &str) {
        self.0.retain(|(of, _), _| of != entry);
    }
}

#[test]
fn every_golden_event_is_folded_and_shown() {
    for (name, text) in files() {
        let envelope = decode(&text);
        let time = rfc3339(envelope.time);
        for view in views::ALL {
            let mut table = Table::default();
            let event = Event {
                kind: &envelope.event_type,
                id: &envelope.id,
                sequence: 1,
                time: &time,
                channels: "",
                data: &envelope.data,
            };
            (view.fold)(&event, &mut table);
            for ((key, row), head) in table.0.iter().filter(|((_, row), _)| row.is_empty()) {
                let entry =
                    Entry { key, head: Some(head), rows: &[], limit: 10, more: false, since: None };
                let shown = (view.show)(&entry, Detail::Full);
                let is_json =
                    shown.is_none_or(|shown| serde_json::from_str::<Value>(&shown).is_ok());
                assert!(is_json, "{name} in {} {row}", view.name);
            }
        }
        if let Some(mut entity) = aggregates::blank(envelope.event_type.split('.').next().unwrap())
        {
            let time = envelope.time;
            entity.evolve(&RecordedEvent::new(envelope, 1, time));
            assert_eq!(entity.revision(), 1, "{name}");
        }
    }
}
