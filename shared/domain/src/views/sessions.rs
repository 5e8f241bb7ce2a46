//! Sessions of users with the AI, as administrators watch them. Listed are those that run.

use super::doc::Doc;
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;

pub(super) const VIEW: View = View {
    name: "sessions",
    version: 1,
    stream: StreamId::Conversations,
    listing: Listing::Chosen(is_running),
    counts_rows: false,
    fold,
    show,
    found_by: None,
};

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    let Some(name) = event.kind.strip_prefix("session.") else { return };
    let Some(data) = Doc::parse(event.data) else { return };
    let Some(id) = data.text("conversationId") else { return };
    change_row(rows, &id, "", &mut |head| {
        head.set_text("conversationId", &id);
        for name in ["userId", "avatarId"] {
            head.take_greatest(name, data.get(name));
        }
        match name {
            "started" => head.take_earliest("startedAt", event.time),
            "ended" => {
                head.take_earliest("endedAt", event.time);
                head.set_text("state", "ended");
                head.take_highest("duration", data.integer("duration"));
            }
            "update" => {
                head.take_highest("messages", data.integer("messages"));
                let is_newer = head.advances("_stamp", &format!("{} {}", event.time, event.id));
                if is_newer && head.get("endedAt").is_none() {
                    for name in ["state", "duration", "safetyState", "connected"] {
                        head.take(name, data.get(name));
                    }
                }
            }
            _ => {}
        }
        if head.get("state").is_none() {
            head.set_text("state", "active");
        }
    });
}

fn is_running(head: &[u8]) -> bool {
    let head = Doc::row(Some(head));
    head.get("startedAt").is_some() && head.get("endedAt").is_none()
}

fn show(entry: &Entry<'_>, _: Detail) -> Option<String> {
    Some(Doc::parse(entry.head?)?.shown())
}
