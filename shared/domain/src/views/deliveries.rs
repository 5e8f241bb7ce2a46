//! Proof of delivery: of each alert who was sent it on which device, when it is known to have been received, who
//! acknowledged it and who handled it. Receipts come late, repeated and in any order.
//!
//! An alert has many events, and each is receipted by every device: of a device are kept the first times, and how far
//! it is known to have come, not each event.

use super::doc::{Doc, json_list};
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;

pub(super) const VIEW: View = View {
    name: "deliveries",
    version: 3,
    stream: StreamId::Crisis,
    listing: Listing::All,
    counts_rows: false,
    fold,
    show,
    found_by: None,
};

mod row {
    pub(super) const DEVICE: &str = "d:";
    pub(super) const PAGE: &str = "p:";
}

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    let Some(name) = event.kind.strip_prefix("crisis.") else { return };
    let Some(data) = Doc::parse(event.data) else { return };
    match name {
        "receipts" => receipts(&data, rows),
        "alert" | "severity_raised" | "acknowledged" | "assigned" | "resolved" => {
            became(event, name, &data, rows);
        }
        "page.done" => paged(event, &data, "done", rows),
        "page.failed" => paged(event, &data, "failed", rows),
        _ => {}
    }
}

/// How it stands with an alert. Who takes or resolves one has seen it.
fn became(event: &Event<'_>, name: &str, data: &Doc<'_>, rows: &mut dyn Rows) {
    let Some(alert) = data.text("alertId") else { return };
    let seen = ["acknowledgedAt", "acknowledgedBy"];
    change_row(rows, &alert, "", &mut |head| {
        head.set_text("alertId", &alert);
        for name in ["userId", "conversationId"] {
            head.take_greatest(name, data.get(name));
        }
        match name {
            "alert" => {
                head.take_earliest("raisedAt", event.time);
                severity(head, &format!("{}0", event.time), data);
            }
            "severity_raised" => severity(head, &format!("{}1", event.time), data),
            "acknowledged" => first(head, event.time, seen, data.get("acknowledgedBy")),
            "assigned" => {
                let by = data.get("assignedBy").or_else(|| data.get("assignedTo"));
                first(head, event.time, seen, by);
                first(head, event.time, ["assignedAt", "assignedTo"], data.get("assignedTo"));
            }
            _ => {
                first(head, event.time, seen, data.get("resolvedBy"));
                first(head, event.time, ["resolvedAt", "resolvedBy"], data.get("resolvedBy"));
            }
        }
    });
}

/// The last that was told; at one moment the raised one.
fn severity(head: &mut Doc<'_>, stamp: &str, data: &Doc<'_>) {
    if head.advances("_severity", stamp) {
        head.take("severity", data.get("severity"));
    }
}

/// When something first happened, and by whom.
fn first(head: &mut Doc<'_>, time: &str, [at, by]: [&'static str; 2], who: Option<&str>) {
    if head.text(at).is_none_or(|present| time < &*present) {
        head.set_text(at, time);
        head.take(by, who);
    }
}

fn paged(event: &Event<'_>, data: &Doc<'_>, state: &str, rows: &mut dyn Rows) {
    let (Some(alert), Some(page)) = (data.text("alertId"), data.text("pageId")) else { return };
    change_row(rows, &alert, &format!("{}{page}", row::PAGE), &mut |kept| {
        for name in ["pageId", "tier", "step", "error"] {
            kept.take_greatest(name, data.get(name));
        }
        kept.take_highest("attempts", data.integer("attempts"));
        kept.take_greatest("state", Some(&format!("\"{state}\"")));
        kept.take_earliest("at", event.time);
    });
}

fn receipts(data: &Doc<'_>, rows: &mut dyn Rows) {
    let Some(list) = data.get("receipts") else { return };
    let Ok(receipts) = serde_json::from_str::<Vec<Doc<'_>>>(list) else { return };
    for receipt in &receipts {
        let part = |name| receipt.text(name).unwrap_or_default();
        let Some(alert) = receipt.text("alertId") else { continue };
        // When the first was, and the place of the furthest in the log.
        let (at, upto) = match &*part("state") {
            "sent" => ("sentAt", "sentUpTo"),
            "received" => ("receivedAt", "receivedUpTo"),
            "seen" => ("seenAt", "seenUpTo"),
            _ => continue,
        };
        change_row(rows, &alert, "", &mut |head| head.set_text("alertId", &alert));
        let name = format!("{}{}/{}", row::DEVICE, part("userId"), part("device"));
        change_row(rows, &alert, &name, &mut |kept| {
            for name in ["userId", "device"] {
                kept.take_greatest(name, receipt.get(name));
            }
            kept.take_earliest(at, &part("at"));
            kept.take_highest(upto, receipt.integer("sequence"));
        });
    }
}

fn show(entry: &Entry<'_>, detail: Detail) -> Option<String> {
    let mut shown = Doc::parse(entry.head?)?;
    if detail == Detail::Full {
        let of = |kind: &str| {
            let rows = entry.rows.iter().filter(|(name, _)| name.starts_with(kind));
            json_list(rows.filter_map(|(_, bytes)| Some(Doc::parse(bytes)?.shown())))
        };
        shown.set("deliveries", of(row::DEVICE));
        shown.set("pages", of(row::PAGE));
    }
    Some(shown.shown())
}
