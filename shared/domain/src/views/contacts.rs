//! Contacts, their details and the messages with them. A contact is found by the last ten digits of its number too,
//! as calls find the person they are with.

use super::doc::{Doc, json_list};
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;
use crate::protection::is_sealed;
use crate::providers::callerdesk::last_ten_digits;

pub(super) const VIEW: View = View {
    name: "contacts",
    version: 2,
    stream: StreamId::Messages,
    listing: Listing::All,
    counts_rows: false,
    fold,
    show,
    found_by: Some(number),
};

/// Names of a message's row begin with it.
const MESSAGE: &str = "m:";

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    let Some((category, name)) = event.kind.split_once('.') else { return };
    if !matches!(category, "contact" | "message") {
        return;
    }
    let Some(data) = Doc::parse(event.data) else { return };
    match (category, name) {
        ("contact", "created") => {
            if let Some(contact) = data.doc("contact")
                && let Some(id) = contact.text("id")
            {
                merge(event, &id, &contact, rows);
            }
        }
        ("contact", "updated") => {
            if let (Some(id), Some(updates)) = (data.text("contactId"), data.doc("updates")) {
                merge(event, &id, &updates, rows);
            }
        }
        ("contact", "deleted") => {
            if let Some(id) = data.text("contactId") {
                // Its messages as well, or they would be back with the next contact of that number.
                rows.clear(&id);
            }
        }
        ("message", "received" | "sent") => message(event, &data, rows),
        ("message", _) => status(event, name, &data, rows),
        _ => {}
    }
}

fn merge(event: &Event<'_>, id: &str, fields: &Doc<'_>, rows: &mut dyn Rows) {
    change_row(rows, id, "", &mut |head| {
        for (name, value) in fields.iter() {
            head.put(name.to_owned().into(), value.to_owned().into());
        }
        head.set_text("id", id);
        head.set_text("updatedAt", event.time);
    });
}

fn message(event: &Event<'_>, data: &Doc<'_>, rows: &mut dyn Rows) {
    let Some(message) = data.doc("message") else { return };
    let (Some(contact), Some(id)) = (message.text("contactId"), message.text("id")) else { return };
    change_row(rows, &contact, "", &mut |head| {
        head.set_text("id", &contact);
        if head.get("name").is_none() {
            head.take("name", message.get("contactName"));
        }
        head.take_greatest("lastMessageAt", Some(&super::doc::json_text(event.time)));
    });
    change_row(rows, &contact, &format!("{MESSAGE}{id}"), &mut |row| {
        for (name, value) in message.iter() {
            if name != "status" {
                row.put(name.to_owned().into(), value.to_owned().into());
            }
        }
        if let Some(status) = message.text("status") {
            advance(row, &status);
        }
        row.take_highest("_place", i64::try_from(event.sequence).ok());
    });
}

fn status(event: &Event<'_>, name: &str, data: &Doc<'_>, rows: &mut dyn Rows) {
    let (Some(contact), Some(id)) = (data.text("contactId"), data.text("messageId")) else {
        return;
    };
    let said = data.text("status");
    let status = match name {
        "status.update" => said.as_deref().unwrap_or_default(),
        "delivered" => "Delivered",
        "read" => "Read",
        "failed" => "Failed",
        _ => return,
    };
    change_row(rows, &contact, "", &mut |head| head.set_text("id", &contact));
    change_row(rows, &contact, &format!("{MESSAGE}{id}"), &mut |row| {
        row.set_text("id", &id);
        advance(row, status);
        for name in ["deliveredAt", "readAt", "error", "errorCode"] {
            row.take_greatest(name, data.get(name));
        }
        row.take_earliest("_told", event.time);
    });
}

/// Providers tell statuses in any order; a lower one never takes a higher one back.
fn advance(row: &mut Doc<'_>, status: &str) {
    let rank = |status: &str| match status {
        "Queued" => 0,
        "Sent" => 1,
        "Failed" => 2,
        "Delivered" => 3,
        "Read" => 4,
        _ => 5,
    };
    let is_further = row
        .text("status")
        .is_none_or(|present| (rank(status), status) > (rank(&present), &*present));
    if is_further {
        row.set_text("status", status);
    }
}

/// The last ten digits of a contact's number, which is its id where WhatsApp made it.
fn number(head: &[u8]) -> Option<String> {
    let head = Doc::row(Some(head));
    // A sealed number finds nobody: what stands for it are no digits of anybody.
    let phone = head.text("phone").filter(|phone| !is_sealed(phone));
    let phone = phone.and_then(|phone| last_ten_digits(&phone));
    phone.or_else(|| {
        let id = head.text("id")?;
        let is_number = id.bytes().all(|b| b.is_ascii_digit() || b == b'+');
        is_number.then(|| last_ten_digits(&id)).flatten()
    })
}

fn show(entry: &Entry<'_>, detail: Detail) -> Option<String> {
    let mut shown = Doc::parse(entry.head?)?;
    if detail == Detail::Full {
        let rows = entry.rows.iter().filter(|(name, _)| name.starts_with(MESSAGE));
        let mut messages: Vec<Doc<'_>> = rows.filter_map(|(_, bytes)| Doc::parse(bytes)).collect();
        messages.sort_by_key(|message| message.integer("_place").unwrap_or(i64::MAX));
        shown.set("messages", json_list(messages.iter().map(Doc::shown)));
        if entry.more {
            shown.set("more", "true");
        }
    }
    Some(shown.shown())
}
