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

/// What the platform's own events tell of calls and of the AI: sums, in views of their own streams, which are shown
/// with the others.
pub(super) const OF_CALLS: View = View {
    name: "call-metrics",
    stream: StreamId::Calls,
    fold: count_call,
    show: show_sums,
    ..VIEW
};
pub(super) const OF_THE_AI: View = View {
    name: "ai-metrics",
    stream: StreamId::Conversations,
    fold: count_usage,
    show: show_sums,
    ..VIEW
};

/// What clips being played, calls and the AI are called among the figures.
const CLIPS: &str = "clip_played";
const CALLS: &str = "calls";
const AI: &str = "ai";

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

/// Calls that ended, by how they did. A provider's repeats are not stored, so every end is counted once.
fn count_call(event: &Event<'_>, rows: &mut dyn Rows) {
    let is_told = matches!(event.kind, "call.update" | "call.completed");
    let Some(data) = is_told.then(|| Doc::parse(event.data)).flatten() else { return };
    let said = data.text("status").unwrap_or_default();
    let status = match &*said {
        "completed" | "Completed" => "completed",
        "busy" | "Busy" => "busy",
        "no-answer" | "No Answer" => "noAnswer",
        "failed" | "Failed" => "failed",
        "canceled" => "canceled",
        _ => return,
    };
    let duration = data.number("duration").or_else(|| data.number("durationSeconds"));
    let figures = [("calls", 1.0), (status, 1.0), ("duration", duration.unwrap_or(0.0))];
    add(event, CALLS, &figures, rows);
}

/// What the AI's answers took.
fn count_usage(event: &Event<'_>, rows: &mut dyn Rows) {
    let is_told = event.kind == "ai.usage";
    let Some(data) = is_told.then(|| Doc::parse(event.data)).flatten() else { return };
    let names = ["promptTokens", "completionTokens", "cost"];
    let figures = names.map(|name| (name, data.number(name).unwrap_or(0.0)));
    add(event, AI, &figures, rows);
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
    show_with(entry, detail, |last, _| figures_of(last, "latest"))
}

/// What is counted here is worth its sum, not what the last event added.
fn show_sums(entry: &Entry<'_>, detail: Detail) -> Option<String> {
    show_with(entry, detail, |_, totals| totals.clone())
}

fn show_with(
    entry: &Entry<'_>,
    detail: Detail,
    figures: impl Fn(&Doc<'_>, &BTreeMap<String, f64>) -> BTreeMap<String, f64>,
) -> Option<String> {
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
    for (name, value) in figures(last, &totals) {
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
