//! Figures by type: the latest, and sums by day, so that they can be asked for since a day.
//!
//! A figure is what its publisher says it is, a state or an increase: both the latest and the sum are shown. Sums
//! count every event once, by its place in the log.

use std::collections::BTreeMap;

use super::doc::Doc;
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;

pub(super) const VIEW: View = View {
    name: "metrics",
    version: 1,
    stream: StreamId::Activity,
    listing: Listing::All,
    counts_rows: true,
    fold,
    show,
    found_by: None,
};

/// What clips being played is called among the figures.
const CLIPS: &str = "clip_played";

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    match event.kind {
        "metric.update" => {
            let Some(data) = Doc::parse(event.data) else { return };
            let Some(kind) = data.text("type") else { return };
            let figures: Vec<(&str, f64)> = data
                .iter()
                .filter_map(|(name, value)| {
                    Some((name, value.parse().ok().filter(|value: &f64| value.is_finite())?))
                })
                .collect();
            add(event, &kind, &figures, rows);
        }
        "clip.played" => add(event, CLIPS, &[], rows),
        _ => {}
    }
}

fn add(event: &Event<'_>, kind: &str, figures: &[(&str, f64)], rows: &mut dyn Rows) {
    let Some(day) = event.time.get(..10) else { return };
    let place = i64::try_from(event.sequence).ok();
    change_row(rows, kind, "", &mut |head| head.set_text("type", kind));
    change_row(rows, kind, day, &mut |row| {
        if row.integer("_place") >= place {
            return;
        }
        row.take_highest("_place", place);
        row.set_number("updates", row.integer("updates").unwrap_or(0) + 1);
        row.take_greatest("updatedAt", Some(&super::doc::json_text(event.time)));
        let mut sums = figures_of(row, "sums");
        let mut latest = figures_of(row, "latest");
        for (name, value) in figures {
            *sums.entry((*name).to_owned()).or_default() += value;
            latest.insert((*name).to_owned(), *value);
        }
        row.set("sums", json(&sums));
        row.set("latest", json(&latest));
    });
}

fn figures_of(row: &Doc<'_>, name: &str) -> BTreeMap<String, f64> {
    row.get(name).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

fn json(figures: &BTreeMap<String, f64>) -> String {
    let mut doc = Doc::default();
    for (name, value) in figures {
        doc.put(name.into(), number(*value).into());
    }
    doc.to_json()
}

/// Whole numbers without a point, as they were given; a sum that has left the range is none.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 9.0e15 {
        format!("{}", value as i64)
    } else if value.is_finite() {
        serde_json::Value::from(value).to_string()
    } else {
        "null".to_owned()
    }
}

fn show(entry: &Entry<'_>, detail: Detail) -> Option<String> {
    let head = Doc::parse(entry.head?)?;
    let since = entry.since.and_then(|since| since.get(..10)).unwrap_or_default();
    let days: Vec<(&str, Doc<'_>)> = entry
        .rows
        .iter()
        .filter(|(day, _)| *day >= since)
        .filter_map(|(day, bytes)| Some((*day, Doc::parse(bytes)?)))
        .collect();
    let (_, last) = days.last()?;
    let (mut totals, mut updates) = (BTreeMap::<String, f64>::new(), 0);
    for (_, day) in &days {
        for (name, value) in figures_of(day, "sums") {
            *totals.entry(name).or_default() += value;
        }
        updates += day.integer("updates").unwrap_or(0);
    }
    let mut shown = Doc::default();
    for (name, value) in figures_of(last, "latest") {
        shown.put(name.into(), number(value).into());
    }
    shown.take("type", head.get("type"));
    shown.take("updatedAt", last.get("updatedAt"));
    shown.set_number("updates", updates);
    shown.set("totals", json(&totals));
    if detail == Detail::Full {
        let told = days.iter().rev().take(entry.limit).map(|(day, row)| {
            let mut told = Doc::default();
            told.set_text("day", day);
            for name in ["updates", "sums", "latest"] {
                told.take(name, row.get(name));
            }
            told.to_json()
        });
        shown.set("days", super::doc::json_list(told));
    }
    Some(shown.shown())
}
