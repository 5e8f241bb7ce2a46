use std::collections::BTreeMap;

use domain::views::{Detail, Event, View, find};
use proptest::prelude::*;
use serde_json::json;

use super::{Asked, Table};

const FULL: Asked<'_> = Asked { detail: Detail::Full, limit: 100, since: None };

/// What happened: which call or contact, and what.
type Told = (u8, u8);

/// From here on what happened to a contact is a message.
const MESSAGES: u8 = 160;

fn data((who, what): Told, is_contact: bool) -> (&'static str, String) {
    let sid = format!("CA{}", who % 6);
    if is_contact && who >= MESSAGES {
        let message = json!({ "id": format!("m{}", what % 3), "contactId": sid, "text": what });
        return ("message.received", json!({ "message": message }).to_string());
    }
    if is_contact {
        let data = json!({ "contactId": sid, "contact": { "id": sid, "phone": format!("987654321{}", what % 4) } });
        let kind = if what.is_multiple_of(3) { "contact.deleted" } else { "contact.created" };
        return (kind, data.to_string());
    }
    let status = ["ringing", "in-progress", "completed", "failed"][usize::from(what % 4)];
    match what % 6 {
        5 => ("call.note", json!({ "callSid": sid, "text": "x" }).to_string()),
        _ => ("call.update", json!({ "callSid": sid, "status": status }).to_string()),
    }
}

fn fold(table: &mut Table, sequence: u64, told: Told) {
    let (kind, data) = data(told, table.view().name == "contacts");
    let id = format!("e{sequence}");
    let time = "2026-01-02T03:04:05.678Z";
    let event = Event { kind, id: &id, sequence, time, channels: "", data: data.as_bytes() };
    table.fold(&event);
}

/// Everything that can be seen of a table: the list in its order, and every entry.
type Seen = (Vec<String>, usize, BTreeMap<String, Option<String>>);

fn now(table: &Table) -> Seen {
    let page = table.page(None, 100);
    let keys = page.entries.iter().map(|entry| table.key(*entry).to_owned()).collect();
    let all = (0..table.count() as u32).map(|e| (table.key(e).to_owned(), table.show(e, FULL)));
    (keys, page.total, all.collect())
}

fn then(table: &Table, at: u64, log: &[Told]) -> Option<Seen> {
    let page = table.page_at(at, None, 100)?;
    let keys = page.entries.iter().map(|entry| table.key(*entry).to_owned()).collect();
    let entries: Vec<u32> = (0..table.count() as u32).collect();
    let mut plan = table.plan(&entries, at)?;
    for sequence in &plan.sequences {
        let (kind, data) = data(log[*sequence as usize - 1], table.view().name == "contacts");
        let (id, time) = (format!("e{sequence}"), "2026-01-02T03:04:05.678Z");
        let sequence = *sequence;
        let event = Event { kind, id: &id, sequence, time, channels: "", data: data.as_bytes() };
        plan.scratch.fold(table.view(), &event);
    }
    let show = |key: &str| plan.scratch.show(table.view(), key, FULL);
    let all = entries.iter().map(|entry| table.key(*entry)).map(|key| (key.to_owned(), show(key)));
    Some((keys, page.total, all.collect()))
}

/// What was not there yet is nothing, however it came to be known later.
fn without_nothing((keys, total, all): Seen) -> Seen {
    (keys, total, all.into_iter().filter(|(_, shown)| shown.is_some()).collect())
}

fn views() -> impl Strategy<Value = &'static View> {
    prop::sample::select(vec!["calls", "active-calls", "contacts"])
        .prop_map(|name| find(name).unwrap())
}

fn log() -> impl Strategy<Value = Vec<Told>> {
    prop::collection::vec((any::<u8>(), any::<u8>()), 1..60)
}

proptest! {
    #[test]
    fn every_earlier_state_is_told_as_it_was(view in views(), log in log(), spacing in 1..9usize) {
        let mut table = Table::new(view, 0);
        table.spacing = spacing;
        let mut seen = vec![now(&table)];
        for (place, told) in log.iter().enumerate() {
            fold(&mut table, place as u64 + 1, *told);
            seen.push(now(&table));
        }
        for (at, expected) in seen.into_iter().enumerate() {
            let told = then(&table, at as u64, &log).unwrap();
            prop_assert_eq!(without_nothing(told), without_nothing(expected), "as of {}", at);
        }
    }

    #[test]
    fn what_retention_took_is_refused_and_the_rest_still_told(
        view in views(), log in log(), spacing in 1..9usize, first in 1..60u64,
    ) {
        let mut table = Table::new(view, 0);
        table.spacing = spacing;
        let mut seen = vec![now(&table)];
        for (place, told) in log.iter().enumerate() {
            fold(&mut table, place as u64 + 1, *told);
            seen.push(now(&table));
        }
        let first = first.min(log.len() as u64);
        table.truncate(first);
        prop_assert!(table.earliest() + 1 >= first);
        for (at, expected) in seen.into_iter().enumerate() {
            let told = then(&table, at as u64, &log);
            prop_assert_eq!(told.is_some(), at as u64 >= table.earliest());
            if let Some(told) = told {
                prop_assert_eq!(without_nothing(told), without_nothing(expected));
            }
            // Nothing of what has left the log is asked for.
            let entries: Vec<u32> = (0..table.count() as u32).collect();
            let plan = table.plan(&entries, at as u64);
            prop_assert!(plan.is_none_or(|plan| plan.sequences.iter().all(|s| *s >= first)));
        }
    }

    #[test]
    fn a_contact_is_found_by_the_number_it_has_now(log in log()) {
        let view = find("contacts").unwrap();
        let mut table = Table::new(view, 0);
        let mut numbers = BTreeMap::new();
        for (place, told) in log.iter().enumerate() {
            fold(&mut table, place as u64 + 1, *told);
            let key = format!("CA{}", told.0 % 6);
            if told.0 >= MESSAGES {
                continue;
            }
            if told.1.is_multiple_of(3) {
                numbers.remove(&key);
            } else {
                numbers.insert(key, format!("987654321{}", told.1 % 4));
            }
        }
        for number in ["9876543210", "9876543211", "9876543212", "9876543213"] {
            let owners: Vec<&String> =
                numbers.iter().filter(|(_, owned)| *owned == number).map(|(key, _)| key).collect();
            match table.find_by(number) {
                Some(found) => prop_assert!(owners.iter().any(|owner| *owner == found)),
                None => prop_assert!(owners.is_empty()),
            }
        }
    }
}

#[test]
fn the_past_of_what_is_kept_for_ever_is_bounded_and_the_rest_of_it_true() {
    let mut table = Table::new(find("calls").unwrap(), 0);
    (table.spacing, table.most_touches) = (7, 100);
    let log: Vec<Told> = (0..400u32).map(|n| ((n % 6) as u8, 5)).collect();
    let mut seen = vec![now(&table)];
    for (place, told) in log.iter().enumerate() {
        fold(&mut table, place as u64 + 1, *told);
        seen.push(now(&table));
        assert!(table.touches.len() <= 100 && table.turns.len() <= 200);
    }
    assert!(table.earliest() > 250, "{}", table.earliest());
    assert_eq!(then(&table, table.earliest() - 1, &log), None);
    for at in table.earliest()..=400 {
        let told = then(&table, at, &log).unwrap();
        assert_eq!(without_nothing(told), without_nothing(seen[at as usize].clone()), "{at}");
    }
}

#[test]
fn marks_are_thinned_and_the_earliest_stays() {
    let mut table = Table::new(find("calls").unwrap(), 0);
    table.spacing = 1;
    let log: Vec<Told> = (0..2_000u32).map(|n| ((n % 6) as u8, (n % 5) as u8)).collect();
    let mut seen = vec![now(&table)];
    for (place, told) in log.iter().enumerate() {
        fold(&mut table, place as u64 + 1, *told);
        seen.push(now(&table));
    }
    assert!(table.marks.len() <= super::MARKS);
    assert_eq!(table.earliest(), 0);
    for at in [0, 1, 700, 1_999, 2_000] {
        let told = then(&table, at, &log).unwrap();
        assert_eq!(without_nothing(told), without_nothing(seen[at as usize].clone()), "{at}");
    }
}
