//! Campaigns: how far each is and how it ended.

use super::doc::Doc;
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;

/// What is counted, as it is kept; it is shown together.
const SENT: &str = "sentInLog";
const DELIVERED: &str = "deliveredInLog";
const READ: &str = "readInLog";
const FAILED: &str = "failedInLog";

pub(super) const VIEW: View = View {
    name: "campaigns",
    version: 3,
    stream: StreamId::Messages,
    listing: Listing::All,
    counts_rows: false,
    fold,
    show,
    found_by: None,
};

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    match event.kind.split_once('.') {
        Some(("campaign", name)) => changed(event, name, rows),
        Some(("message", name)) => counted(event, name, rows),
        _ => {}
    }
}

fn changed(event: &Event<'_>, name: &str, rows: &mut dyn Rows) {
    let state = match name {
        "started" | "resumed" => "running",
        "paused" => "paused",
        "completed" => "completed",
        "failed" => "failed",
        "progress" => "",
        _ => return,
    };
    let Some(data) = Doc::parse(event.data) else { return };
    let Some(id) = data.text("campaignId") else { return };
    change_row(rows, &id, "", &mut |head| {
        head.set_text("campaignId", &id);
        if let Some(campaign) = data.doc("campaign") {
            for field in ["name", "totalRecipients"] {
                head.take(field, campaign.get(field));
            }
        }
        if let Some(progress) = data.doc("progress") {
            // It is told every hundred messages and by several; the furthest counts.
            let sent = progress.integer("sent");
            let present = head.doc("progress").and_then(|present| present.integer("sent"));
            if sent >= present {
                head.take("progress", data.get("progress"));
            }
        }
        for field in ["stats", "error", "pausedBy", "resumedBy"] {
            head.take(field, data.get(field));
        }
        let is_over = |head: &Doc<'_>| head.get("endedAt").is_some();
        match state {
            "" => {}
            "completed" | "failed" => {
                head.set_text("state", state);
                head.set_text("endedAt", event.time);
            }
            _ if is_over(head) => {}
            // A start that comes late takes back no pause.
            "running" if name == "started" && head.get("state").is_some() => {}
            _ => head.set_text("state", state),
        }
        if name == "started" && head.get("startedAt").is_none() {
            head.set_text("startedAt", event.time);
        }
        head.set_text("updatedAt", event.time);
    });
}

/// Counted by the log itself, whatever the sender says of its progress.
fn counted(event: &Event<'_>, name: &str, rows: &mut dyn Rows) {
    if !["sent", "delivered", "read", "failed"].contains(&name) {
        return;
    }
    let Some(data) = Doc::parse(event.data) else { return };
    let message = data.doc("message");
    // Only a message that is sent is told whole.
    let told = message.as_ref().unwrap_or(&data);
    let Some(id) = told.text("campaignId") else { return };
    let count = match name {
        "sent" if told.get("status") == Some("\"Failed\"") => FAILED,
        "sent" => SENT,
        "delivered" => DELIVERED,
        "read" => READ,
        _ => FAILED,
    };
    let place = i64::try_from(event.sequence).ok();
    change_row(rows, &id, "", &mut |head| {
        head.set_text("campaignId", &id);
        if head.integer("_counted") >= place {
            return;
        }
        head.take_highest("_counted", place);
        head.set_number(count, head.integer(count).unwrap_or(0) + 1);
    });
}

fn show(entry: &Entry<'_>, _: Detail) -> Option<String> {
    let mut head = Doc::parse(entry.head?)?;
    let stats = stats(&head);
    [SENT, DELIVERED, READ, FAILED].into_iter().for_each(|name| head.remove(name));
    if let Some(stats) = stats {
        head.set("statsInLog", stats);
    }
    Some(head.shown())
}

/// What was counted, in the form that the sender's own `stats` have.
fn stats(head: &Doc<'_>) -> Option<String> {
    let of = |name| head.integer(name).unwrap_or(0);
    let (sent, delivered, read, failed) = (of(SENT), of(DELIVERED), of(READ), of(FAILED));
    let rate =
        |part: i64| (part * 1000).checked_div(sent).map_or(0, |it| it.min(1000)) as f64 / 10.0;
    let stats = format!(
        r#"{{"deliveredCount":{delivered},"deliveryRate":{},"failedCount":{failed},"readCount":{read},"readRate":{},"sentCount":{sent}}}"#,
        rate(delivered),
        rate(read),
    );
    (sent + delivered + read + failed > 0).then_some(stats)
}
