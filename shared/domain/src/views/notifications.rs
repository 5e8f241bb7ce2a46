//! Every person's notifications, newest first, with how many are unread. What was read on one device is read on all.

use super::doc::{Doc, json_list};
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;

pub(super) const VIEW: View = View {
    name: "notifications",
    version: 1,
    stream: StreamId::Activity,
    listing: Listing::All,
    counts_rows: true,
    fold,
    show,
    found_by: None,
};

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    let Some(name) = event.kind.strip_prefix("notification.") else { return };
    let Some(data) = Doc::parse(event.data) else { return };
    match name {
        "new" | "message" => told(event, &data, rows),
        "read" => {
            let id = data.text("notificationId");
            let (Some(user), Some(id)) = (user(event, &data), id) else { return };
            change_row(rows, &user, "", &mut |head| head.set_text("userId", &user));
            change_row(rows, &user, &id, &mut |row| {
                row.set("read", "true");
                row.take_earliest("readAt", event.time);
            });
        }
        "all_read" => {
            let Some(user) = user(event, &data) else { return };
            change_row(rows, &user, "", &mut |head| {
                head.set_text("userId", &user);
                head.take_highest("_readUpto", i64::try_from(event.sequence).ok());
            });
        }
        _ => {}
    }
}

/// Whose channel an event is for, which is how the platform writes a user's id.
fn users<'a>(event: &Event<'a>) -> impl Iterator<Item = &'a str> {
    event.channels.split(',').filter_map(|channel| channel.strip_prefix("user:"))
}

fn user(event: &Event<'_>, data: &Doc<'_>) -> Option<String> {
    users(event).next().map(str::to_owned).or_else(|| data.text("userId").map(Into::into))
}

/// A notification is for everybody in its audience.
fn told(event: &Event<'_>, data: &Doc<'_>, rows: &mut dyn Rows) {
    let id = data.text("id").unwrap_or(event.id.into());
    let place = i64::try_from(event.sequence).ok();
    for user in users(event) {
        change_row(rows, user, "", &mut |head| head.set_text("userId", user));
        change_row(rows, user, &id, &mut |row| {
            // Told again under the same id it is the same notification.
            if row.get("_place").is_some() {
                return;
            }
            let was_read = row.get("read").is_some();
            for (name, value) in data.iter() {
                if !was_read || !matches!(name, "read" | "readAt") {
                    row.put(name.to_owned().into(), value.to_owned().into());
                }
            }
            row.set_text("id", &id);
            row.take_highest("_place", place);
            if row.get("createdAt").is_none() {
                row.set_text("createdAt", event.time);
            }
        });
    }
}

fn show(entry: &Entry<'_>, detail: Detail) -> Option<String> {
    let mut shown = Doc::parse(entry.head?)?;
    let read_upto = shown.integer("_readUpto").unwrap_or(0);
    let mut items: Vec<(i64, Doc<'_>)> = Vec::with_capacity(entry.rows.len());
    let mut unread = 0usize;
    for (_, bytes) in entry.rows {
        let Some(mut item) = Doc::parse(bytes) else { continue };
        // Read before it was told: nothing to show yet.
        let Some(place) = item.integer("_place") else { continue };
        let is_read = place <= read_upto || item.get("read") == Some("true");
        item.set("read", if is_read { "true" } else { "false" });
        unread += usize::from(!is_read);
        items.push((place, item));
    }
    shown.set_number("unread", unread);
    shown.set_number("count", items.len());
    if detail == Detail::Full {
        items.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        if items.len() > entry.limit {
            shown.set("more", "true");
        }
        let items = items.iter().take(entry.limit).map(|(_, item)| item.shown());
        shown.set("items", json_list(items));
    }
    Some(shown.shown())
}
