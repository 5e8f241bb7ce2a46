//! What holds for every view: it never fails, folding an event again changes nothing, its rows are canonical.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::support::{Given, Table, given};
use crate::StreamId;
use crate::catalogue::Catalogue;
use crate::views::doc::Doc;
use crate::views::{ALL, find};

/// Every stored type of the catalogue with its example.
static EXAMPLES: LazyLock<Vec<Given>> = LazyLock::new(|| {
    let catalogue = Catalogue::builtin().unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let stored = catalogue.events().filter(|event| event.stream.is_some());
    stored
        .map(|event| {
            let mut told = given(&event.name, 7, event.example.clone());
            told.channels = "user:7,admin".to_owned();
            told
        })
        .collect()
});

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!("2026-01-02T03:04:05.678Z")),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,6}", inner), 0..3).prop_map(|fields| {
                Value::Object(fields.into_iter().collect::<Map<String, Value>>())
            }),
        ]
    })
}

/// An example in which some fields, at any depth, are something else or gone.
fn spoiled() -> impl Strategy<Value = Given> {
    let places = prop::collection::vec((any::<prop::sample::Index>(), values()), 0..4);
    (any::<prop::sample::Index>(), places, 0..5u32, any::<bool>()).prop_map(
        |(which, places, second, is_cut)| {
            let mut told = which.get(&EXAMPLES).clone();
            let mut data: Value = serde_json::from_slice(&told.data).unwrap();
            for (at, value) in places {
                spoil(&mut data, at, value);
            }
            told.data = data.to_string().into_bytes();
            if is_cut && second == 4 {
                told.data.truncate(told.data.len() / 2);
            }
            told.time = format!("2026-01-02T03:04:0{second}.000Z");
            told.id = format!("e{second}");
            told
        },
    )
}

fn spoil(data: &mut Value, at: prop::sample::Index, value: Value) {
    let Some(object) = data.as_object_mut().filter(|object| !object.is_empty()) else { return };
    let name = object.keys().nth(at.index(object.len())).unwrap().clone();
    match object.get_mut(&name) {
        Some(inner) if inner.is_object() && value.is_null() => spoil(inner, at, json!(1)),
        Some(inner) => *inner = value,
        None => {}
    }
}

proptest! {
    #[test]
    fn whatever_is_told_is_folded_and_shown(events in prop::collection::vec(spoiled(), 0..12)) {
        for view in ALL {
            let table = Table::fold(view, &events);
            for ((key, _), row) in &table.0 {
                let doc = Doc::parse(row);
                prop_assert!(doc.is_some(), "{}", String::from_utf8_lossy(row));
                prop_assert_eq!(&doc.unwrap().to_bytes(), row, "a row is canonical");
                table.show(view, key);
            }
            table.listed(view);
        }
    }

    #[test]
    fn an_event_that_is_folded_again_changes_nothing(events in prop::collection::vec(spoiled(), 1..8)) {
        for view in ALL {
            let mut table = Table::default();
            for (place, event) in events.iter().enumerate() {
                table.take(view, event, place as u64 + 1);
                let once = table.clone();
                table.take(view, event, place as u64 + 1);
                prop_assert_eq!(&table, &once, "{} {}", view.name, event.kind);
            }
        }
    }

    #[test]
    fn one_entry_needs_no_event_that_did_not_touch_it(events in prop::collection::vec(spoiled(), 1..12)) {
        for view in ALL {
            let whole = Table::fold(view, &events);
            let keys: std::collections::BTreeSet<&String> = whole.0.keys().map(|(key, _)| key).collect();
            for key in keys {
                let mut alone = Table::default();
                for (place, event) in events.iter().enumerate() {
                    let place = place as u64 + 1;
                    let (before, mut after) = (alone.of(key), alone.clone());
                    after.take(view, event, place);
                    if after.of(key) != before {
                        alone.0 = after.of(key);
                    }
                }
                prop_assert_eq!(whole.of(key), alone.of(key), "{}", view.name);
            }
        }
    }
}

#[test]
fn every_view_has_something_of_the_catalogues_examples() {
    for view in ALL {
        let told: Vec<_> =
            EXAMPLES.iter().filter(|told| of_stream(told) == Some(view.stream)).collect();
        let table = Table::fold(view, told.iter().copied());
        let shown = table.0.keys().map(|(key, _)| table.show(view, key));
        assert!(
            shown.into_iter().any(|value| value.is_object()) || view.name == "contacts",
            "{}",
            view.name
        );
    }
}

#[test]
fn events_of_other_streams_are_nothing_to_a_view() {
    for view in ALL {
        let other = EXAMPLES.iter().filter(|told| of_stream(told) != Some(view.stream));
        assert_eq!(Table::fold(view, other), Table::default(), "{}", view.name);
    }
}

fn of_stream(told: &Given) -> Option<StreamId> {
    StreamId::of_category(told.kind.split('.').next().unwrap())
}

#[test]
fn every_view_that_a_channel_names_is_there() {
    let catalogue = Catalogue::builtin().unwrap_or_else(|mistakes| panic!("{mistakes}"));
    for name in [
        "user:7",
        "conversation:c",
        "admin",
        "calls",
        "call:CA1",
        "agent:7",
        "dashboard:overview",
        "campaign:c",
        "contact:c",
        "whatsapp:a",
    ] {
        let channel = crate::Channel::parse(name).unwrap();
        let snapshot = catalogue.snapshot_of(&channel).unwrap();
        assert!(find(snapshot.view).is_some(), "{name}");
    }
}
