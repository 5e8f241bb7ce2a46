//! Alerts of people in danger: how each stands, who has it, and all that became of it. Listed are those not resolved.
//! They are decided one after the other, so the order of the log is theirs.

use serde_json::value::RawValue;

use super::doc::{Doc, json_list};
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;

pub(super) const VIEW: View = View {
    name: "alerts",
    version: 2,
    stream: StreamId::Crisis,
    listing: Listing::Chosen(is_open),
    counts_rows: false,
    fold,
    show,
    found_by: None,
};

/// As many as one event may have.
const MOST_SIGNALS: usize = 64;

/// What an event leaves in the alert's own history.
const TOLD: [&str; 12] = [
    "acknowledgedBy",
    "assignedBy",
    "assignedTo",
    "error",
    "notes",
    "pageId",
    "previous",
    "resolvedBy",
    "round",
    "severity",
    "step",
    "tier",
];

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    let Some(name) = event.kind.strip_prefix("crisis.") else { return };
    let changes = [
        "alert",
        "acknowledged",
        "assigned",
        "resolved",
        "escalated",
        "reopened",
        "severity_raised",
        "page.done",
        "page.failed",
    ];
    if !changes.contains(&name) {
        return;
    }
    let Some(data) = Doc::parse(event.data) else { return };
    let Some(id) = data.text("alertId") else { return };
    change_row(rows, &id, "", &mut |head| {
        head.set_text("alertId", &id);
        for name in ["userId", "conversationId", "raisedBy"] {
            head.take_greatest(name, data.get(name));
        }
        change(head, name, event.time, &data);
    });
    change_row(rows, &id, &format!("{:016x}", event.sequence), &mut |told| {
        told.set_text("type", event.kind);
        told.set_text("at", event.time);
        for name in TOLD {
            told.take(name, data.get(name));
        }
    });
}

fn change(head: &mut Doc<'_>, name: &str, time: &str, data: &Doc<'_>) {
    match name {
        "alert" => {
            head.take_earliest("raisedAt", time);
            head.take("severity", data.get("severity"));
            add_signals(head, data);
            if head.get("state").is_none() {
                head.set_text("state", "open");
            }
        }
        "severity_raised" => {
            head.take("severity", data.get("severity"));
            add_signals(head, data);
        }
        "acknowledged" => acknowledge(head, time, data.get("acknowledgedBy")),
        "assigned" => {
            // To take an alert is to have seen it.
            let by = data.get("assignedBy").or_else(|| data.get("assignedTo"));
            if head.get("acknowledgedAt").is_none() {
                acknowledge(head, time, by);
            }
            head.set_text("state", "assigned");
            head.set_text("assignedAt", time);
            head.take("assignedTo", data.get("assignedTo"));
        }
        "resolved" => {
            if head.get("acknowledgedAt").is_none() {
                acknowledge(head, time, data.get("resolvedBy"));
            }
            head.set_text("state", "resolved");
            head.set_text("resolvedAt", time);
            head.take("resolvedBy", data.get("resolvedBy"));
            head.take("notes", data.get("notes"));
        }
        "escalated" => {
            head.take("tier", data.get("tier"));
            head.take("step", data.get("step"));
            head.set_text("escalatedAt", time);
        }
        "reopened" => {
            for name in ["acknowledgedBy", "acknowledgedAt", "assignedTo", "assignedAt"] {
                head.remove(name);
            }
            head.set_text("state", "open");
            head.set_text("reopenedAt", time);
        }
        _ => {}
    }
    head.take("round", data.get("round"));
}

/// What made an alert worse comes behind what it was raised for. A row that version 1 left has only what came last.
fn add_signals(head: &mut Doc<'_>, data: &Doc<'_>) {
    let read = |json| serde_json::from_str::<Vec<&RawValue>>(json).unwrap_or_default();
    let mut all = head.get("signals").map_or_else(Vec::new, read);
    for signal in data.get("signals").map_or_else(Vec::new, read) {
        if all.len() < MOST_SIGNALS && !all.iter().any(|known| known.get() == signal.get()) {
            all.push(signal);
        }
    }
    let all = json_list(all.into_iter().map(|signal| signal.get().to_owned()));
    head.set("signals", all);
}

fn acknowledge(head: &mut Doc<'_>, time: &str, by: Option<&str>) {
    head.set_text("state", "acknowledged");
    head.set_text("acknowledgedAt", time);
    head.take("acknowledgedBy", by);
}

fn is_open(head: &[u8]) -> bool {
    Doc::row(Some(head)).get("resolvedAt").is_none()
}

fn show(entry: &Entry<'_>, detail: Detail) -> Option<String> {
    let mut shown = Doc::parse(entry.head?)?;
    if detail == Detail::Full {
        let told = entry.rows.iter().filter_map(|(_, bytes)| Some(Doc::parse(bytes)?.shown()));
        shown.set("history", json_list(told));
    }
    Some(shown.shown())
}
